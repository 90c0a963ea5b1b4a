"""The file that remembers a network that stays up, and whose lock says whether its keeper lives.

The keeper holds an exclusive lock (flock) on the file for as long as it runs, so a file that nobody locks was left
behind by a keeper that was killed, whatever process has its process id now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from onion_rdv.errors import TestnetFailed
from onion_rdv.tor import home
from onion_rdv.tor.testnet.plan import LOG

if TYPE_CHECKING:
    from pathlib import Path

MARK = "onion-rdv-testnet"  # a file in every network's directory; without it nothing is removed
LOGS_KEPT = "keep-logs"
_TORS_END = 5.0  # seconds
STARTING, UP, ENDING = "starting", "up", "ending"  # what "phase" says


def default_path() -> Path:
    """Name the place of the file: ``testnet.json`` in the user's state directory."""
    return home.state() / "testnet.json"


class StateFile:
    """The file, locked by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def claim(cls, path: Path, *, create: bool) -> StateFile | None:
        """Lock the file; None when another process holds it, or when it does not exist and ``create`` is false.

        Raises TestnetFailed when the file cannot be opened or made.
        """
        while True:
            try:
                if create:
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
                descriptor = os.open(path, flags, 0o600)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise TestnetFailed(f"the state file {path} cannot be used: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return cls(path, descriptor)
            os.close(descriptor)  # its last owner removed it before we had the lock

    def read(self) -> dict[str, Any]:
        """Give what was written last; empty when nothing was."""
        return _parse(os.pread(self._descriptor, 1 << 20, 0))

    def write(self, content: dict[str, Any]) -> None:
        """Replace the content."""
        written = json.dumps(content).encode()
        os.pwrite(self._descriptor, written, 0)
        os.ftruncate(self._descriptor, len(written))

    def remove(self) -> None:
        """Remove the file and give up the lock."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def read(path: Path) -> dict[str, Any]:
    """Read the file without its lock; empty when there is none, or it is being written."""
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return {}


def _parse(written: bytes) -> dict[str, Any]:
    try:
        content = json.loads(written)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def remove_network(directory: Path) -> bool:
    """Remove a network's directory (or all but its logs, if they are to be kept); say whether it was there."""
    try:
        if (directory / MARK).lstat().st_uid != os.geteuid():
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not (directory / LOGS_KEPT).exists():
        _remove_tree(directory)
        return True
    for path in directory.iterdir():
        if path.is_dir():
            _remove_all_but_log(path)
        else:
            path.unlink(missing_ok=True)
    return True


def _remove_tree(directory: Path) -> None:
    """Remove a directory in which a tor that is being killed may still write for a moment."""
    deadline = time.monotonic() + _TORS_END
    while time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.05)
    shutil.rmtree(directory)


def _remove_all_but_log(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            _remove_tree(path)
        elif path.name != LOG:
            path.unlink(missing_ok=True)
