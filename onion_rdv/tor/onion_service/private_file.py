"""Small files with secrets: nobody else's from the first byte, whole or not there at all, and safely on the disk.

Where root works for the user whose directory it is, the files are that user's.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.errors import RdvError

_LONGEST_FILE = 65_536


def load(path: Path, unusable: type[RdvError]) -> bytes:
    """Read a file; raises ``unusable`` where it is no plain file, another user's or open to others. Blocks.

    Raises :class:`OSError` too.
    """
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # not to wait for a pipe's other end
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise unusable(f"{path} is no plain file")
        if status.st_mode & 0o077:
            raise unusable(
                f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
                hint="close it (chmod 600), and think about whether somebody has read the key meanwhile",
            )
        if status.st_uid not in {os.geteuid(), 0, _owner(path.parent)}:
            raise unusable(f"{path} belongs to another user", hint="run as its owner, or chown it")
        return os.read(opened, _LONGEST_FILE)
    finally:
        os.close(opened)


def create(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, file and directory safely on the disk before this returns. Blocks.

    Raises :class:`FileExistsError` where another process was faster, and other kinds of :class:`OSError`.
    """
    # A link, not a rename: it never replaces a file that another process has put there meanwhile.
    unfinished = _write_beside(path, content)
    try:
        os.link(unfinished, path)
    finally:
        unfinished.unlink()
    sync_directory(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write a file in the place of an older one, as :func:`create` does. Blocks; raises :class:`OSError`."""
    unfinished = _write_beside(path, content)
    try:
        unfinished.replace(path)
    except OSError:
        unfinished.unlink()
        raise
    sync_directory(path.parent)


def _write_beside(path: Path, content: bytes) -> Path:
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(opened, "wb") as file:
            if _owner(path.parent) != os.geteuid():
                os.fchown(opened, _owner(path.parent), -1)
            file.write(content)
            file.flush()
            os.fsync(opened)
    except OSError:
        unfinished.unlink()
        raise
    return unfinished


def _owner(directory: Path) -> int:
    """Give the user for whom we work there: root for whoever owns the directory, others for themselves."""
    return directory.stat().st_uid if os.geteuid() == 0 else os.geteuid()


def sync_directory(path: Path) -> None:
    """Have the names in a directory safely on the disk. Blocks; raises :class:`OSError`."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
