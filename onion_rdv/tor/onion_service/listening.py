"""A Unix socket to listen on: with its mode from the first moment, and never in the place of a living one."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError
from onion_rdv.tor.onion_service import disk

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 1024
"""Streams that may wait to be accepted; tor gives up a stream for which there is no room."""

_HINT = "name a short path in a directory that belongs to the user that runs the server"


class UnixListener:
    """A listening socket at a path, which is taken away again with :meth:`unlink`."""

    def __init__(self, path: Path, mode: int) -> None:
        """Bind at ``path``, in place of a socket that a crash left behind, and listen.

        Raises :class:`~onion_rdv.errors.SettingsError` when somebody listens there already, something else has that
        name, or it cannot be made, and :class:`~onion_rdv.errors.StoreError` for a disk that is full or fails.
        """
        self._path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear(path)
            # Linux gives the name that it makes the mode that the socket has, less the umask.
            os.fchmod(self.socket.fileno(), mode)
            self.socket.bind(str(path))
            self._identity = _identity(path)
            path.chmod(mode)
            self.socket.listen(BACKLOG)
        except OSError as error:
            self.socket.close()
            raise disk.fault(error, path) or SettingsError(
                f"no socket can be made at {path} ({error.strerror or error})", hint=_HINT
            ) from None
        except SettingsError:
            self.socket.close()
            raise

    def unlink(self) -> None:
        """Take the name away, unless it is somebody else's by now."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_mtime_ns  # inode numbers are used again at once


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SettingsError(f"{path} is there already and is no socket", hint="name another path for the socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # so many are waiting there that it must be alive
    raise SettingsError(
        f"another server listens on {path}", hint="stop it first, or name another path for the socket"
    )
