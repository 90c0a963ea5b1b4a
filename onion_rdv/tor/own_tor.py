"""A tor of our own, for where none runs: started with a data directory that it keeps, so that later starts are fast.

It is started here and not by stem, whose tor is in the terminal's foreground (Ctrl-C ended it before what goes
through it on the way out, and a terminal that hangs up had it read its torrc again), and whose time-out works in the
main thread only. Should this process be killed, tor ends by itself within about 15 seconds
(``__OwningControllerProcess`` in tor's control-spec, section "TAKEOWNERSHIP").
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from onion_rdv.errors import NoTor, SettingsError, TorFailed
from onion_rdv.tor import control, torlog
from onion_rdv.tor.progress import Progress, silent
from onion_rdv.tor.torrc import quote

if TYPE_CHECKING:
    from pathlib import Path

LOG = "tor.log"
_LOCK = "in-use"
_TORS_LOCK = "lock"  # tor's own, in its data directory; a tor whose parent was killed holds it a little longer
_PORT_FILE = "control-port"
_POLL = 0.02
_CHUNK = 65_536
_ORPHAN_TIMEOUT = 20.0  # seconds; tor looks every 15 whether its parent is still there
_END_TIMEOUT = 5.0


class DataDirectory:
    """A tor's data directory (0700), which no other process of ours uses until :meth:`release`, or our end."""

    def __init__(self, path: Path) -> None:
        """Make the directory if it is not there, and lock it; raises NoTor when it is in use or unusable."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            self._lock = _lock(path / _LOCK)
        except OSError as error:
            raise NoTor(
                f"the data directory for a tor of our own, {path}, cannot be used: {error.strerror}",
                hint="choose another state directory, or mend its owner and permissions",
            ) from error
        if self._lock is None:
            raise NoTor(
                f"another onion-rdv runs a tor of its own in {path}",
                hint="wait until it has ended, or choose another state directory",
            )

    def tor_is_running(self) -> bool:
        """Say whether a tor still runs here; it can be one whose parent was killed."""
        lock = _lock(self.path / _TORS_LOCK)
        if lock is None:
            return True
        os.close(lock)
        return False

    def release(self) -> None:
        """Let others have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def pick_free_directory(base: Path) -> DataDirectory:
    """Lock the first of ``base/0``, ``base/1`` and so on that nobody uses, so that several clients work at once.

    Raises NoTor when ``base`` cannot be used.
    """
    number = 0
    while True:
        path = base / str(number)
        number += 1
        try:
            directory = DataDirectory(path)
        except NoTor as error:
            if isinstance(error.__cause__, OSError):
                raise
            continue
        if not directory.tor_is_running():
            return directory
        directory.release()


class OwnTor:
    """A tor that runs and has bootstrapped; ``socks`` and ``control`` are ``127.0.0.1:PORT``."""

    def __init__(
        self, process: subprocess.Popen[bytes], directory: DataDirectory, control_address: str, socks: str | None
    ) -> None:
        self.control = control_address
        self.socks = socks
        self._process = process
        self._directory = directory

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def runs(self) -> bool:
        """Say whether the process still runs."""
        return self._process.poll() is None

    async def stop(self) -> None:
        """End tor, by force if it does not end within five seconds, and give its directory free."""
        try:
            await asyncio.to_thread(_end, self._process)
        finally:
            self._directory.release()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def launch(
    data_directory: Path | DataDirectory,
    *,
    socks: bool,
    extra_torrc: Path | None = None,
    progress: Progress = silent,
    timeout: float,
) -> OwnTor:
    """Start tor and wait at most ``timeout`` seconds until it has bootstrapped.

    ``socks`` gives it a SOCKS port (a free one, with ``ExtendedErrors``); the control port is a free one too, with
    cookie authentication. ``extra_torrc`` is a file with more lines for its torrc (bridges, a private network);
    they do not prevail over what stands here. A directory that comes locked is released when this fails.

    Raises SettingsError when that file cannot be read, NoTor when there is no tor or the directory is in use, and
    TorFailed, with tor's own words, when it ends or gets stuck.
    """
    deadline = time.monotonic() + timeout
    directory = data_directory if isinstance(data_directory, DataDirectory) else None
    process: subprocess.Popen[bytes] | None = None
    try:
        extra = _read_extra(extra_torrc)
        program = _find_program()
        if not isinstance(data_directory, DataDirectory):
            directory = data_directory = DataDirectory(data_directory)
        await _await_orphan(data_directory, progress)
        process = _start(program, _torrc(data_directory.path, extra, socks=socks))
        await _await_first_word(process, timeout, deadline)
        await _await_bootstrap(process, data_directory.path, progress, timeout, deadline)
        port, listeners = await _ask_addresses(data_directory.path)
    except BaseException:
        if process is not None:
            await asyncio.to_thread(_end, process)
        if directory is not None:
            directory.release()
        raise
    return OwnTor(process, data_directory, port, listeners[0] if listeners else None)


def _read_extra(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"the torrc file {path} cannot be read: {reason}") from error


def _find_program() -> str:
    program = shutil.which("tor")
    if program is None:
        raise NoTor("tor is not on PATH")
    return program


def _torrc(directory: Path, extra: str, *, socks: bool) -> str:
    """Write the torrc; the extra lines go first, whole and in their order, so that they lose against ours."""
    lines = (
        extra,
        "ClientOnly 1",
        f"DataDirectory {quote(directory)}",
        f"SocksPort {'auto ExtendedErrors' if socks else '0'}",
        "ControlPort auto",
        f"ControlPortWriteToFile {quote(directory / _PORT_FILE)}",
        "CookieAuthentication 1",
        "SafeLogging 1",
        f"Log {quote(f'NOTICE file {directory / LOG}')}",
        "Log NOTICE stdout",
        "TruncateLogFile 1",
        "DormantCanceledByStartup 1",
        "RunAsDaemon 0",
        f"__OwningControllerProcess {os.getpid()}",
    )
    return "\n".join((*lines, ""))


async def _await_orphan(directory: DataDirectory, progress: Progress) -> None:
    deadline = time.monotonic() + _ORPHAN_TIMEOUT
    while directory.tor_is_running():
        progress(0, "waiting for the tor of an earlier run to end")
        if time.monotonic() > deadline:
            raise NoTor(
                f"a tor that is not ours runs in {directory.path}", hint="stop it, or choose another state directory"
            )
        await asyncio.sleep(_POLL)


def _start(program: str, torrc: str) -> subprocess.Popen[bytes]:
    """Start tor in a session of its own, where no key that is pressed and no terminal that hangs up ends it.

    Raises TorFailed where the program cannot be run.
    """
    with os.fdopen(os.memfd_create("torrc"), "w+b") as given:  # a pipe can be full, where tor does not read
        given.write(torrc.encode())
        given.seek(0)
        try:
            return subprocess.Popen(
                (program, "-f", "-"),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise TorFailed(f"{program} cannot be run: {error.strerror}") from error


async def _await_first_word(process: subprocess.Popen[bytes], timeout: float, deadline: float) -> None:
    """Wait until tor begins to bootstrap, which a good one does within a second; then it is heard no further."""
    if process.stdout is None:  # pragma: no cover
        return
    with process.stdout as output:
        os.set_blocking(output.fileno(), False)
        said = b""
        while True:
            added = output.read(_CHUNK)  # None: there is nothing yet; empty: there never will be
            said += added or b""
            lines = said.decode(errors="replace").splitlines()
            if any(torlog.bootstrap(line) for line in lines):
                return
            if added == b"":
                last = torlog.text(lines[-1]) if lines else "it ended without a word"
                raise TorFailed(torlog.refusal(lines) or last)
            if time.monotonic() > deadline:
                raise TorFailed(f"after {timeout:.0f} s it has not begun to start")
            await asyncio.sleep(_POLL)


async def _await_bootstrap(
    process: subprocess.Popen[bytes], directory: Path, progress: Progress, timeout: float, deadline: float
) -> None:
    log = torlog.Follower(directory / LOG)
    while True:
        log.read()
        progress(log.bootstrap.percent, log.bootstrap.summary)
        if log.bootstrap.percent == 100:
            return
        if process.poll() is not None:
            log.read()  # its last words
            raise TorFailed(log.problem or log.last_line)
        if time.monotonic() > deadline:
            raise TorFailed(
                f"after {timeout:.0f} s it stands at {log.bootstrap.percent}% ({log.bootstrap.summary}): "
                f"{log.problem or log.last_line}"
            )
        await asyncio.sleep(_POLL)


async def _ask_addresses(directory: Path) -> tuple[str, list[str]]:
    address = (directory / _PORT_FILE).read_text().strip().removeprefix("PORT=")
    async with await control.connect(address) as connection:
        return address, await connection.socks_listeners()
