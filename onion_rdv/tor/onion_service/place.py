"""What can be seen of a HiddenServiceDir from outside tor, before tor is given it.

A tor that is told over its control port to use a directory it cannot make ends at once, and with it everything
else that it did. So whatever can be seen to go wrong is refused here.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError
from onion_rdv.tor import users
from onion_rdv.tor.control.permission import denied

if TYPE_CHECKING:
    from pathlib import Path

_HOSTNAME = "hostname"


class Place:
    """A HiddenServiceDir, and the user that tor runs as (None when tor does not say). Its methods block.

    Raises :class:`~onion_rdv.errors.SettingsError`, as all its methods do, when tor could not use the directory or
    this user could not look into it.
    """

    def __init__(self, directory: Path, tor_uid: int | None) -> None:
        self.directory = directory
        self.tor_uid = tor_uid
        self.exists = False
        self.shared = tor_uid != os.geteuid()
        if not directory.is_absolute():
            raise SettingsError(f"the onion service's directory {str(directory)!r} is not an absolute path")
        try:
            self._look()
        except OSError as error:
            raise _unreadable("the onion service's directory", directory / _HOSTNAME) from error

    def _look(self) -> None:
        try:
            status = self.directory.stat()
        except FileNotFoundError:
            self._look_at_parent()
            return
        self.exists = True
        if not stat.S_ISDIR(status.st_mode):
            raise SettingsError(f"{self.directory} is no directory")
        if self.tor_uid is not None and status.st_uid != self.tor_uid and users.is_seen(self.tor_uid):
            raise SettingsError(
                f"{self.directory} does not belong to the user that tor runs as ({users.name(self.tor_uid)})",
                hint="give it to tor (chown), or name a directory that is not there yet",
            )
        if status.st_mode & 0o027:
            raise SettingsError(f"{self.directory} is open to other users", hint="close it: chmod 700, or 750")
        self.shared = self.shared or bool(status.st_mode & 0o050)

    def _look_at_parent(self) -> None:
        parent = self.directory.parent
        try:
            status = parent.stat()
        except FileNotFoundError:
            raise SettingsError(
                f"{parent} does not exist, and tor makes only the last part of {self.directory}",
                hint="make it, for tor's user, first",
            ) from None
        if self.tor_uid is not None and not users.may(self.tor_uid, status, 0o3):
            raise SettingsError(
                f"tor, which runs as {users.name(self.tor_uid)}, cannot make {self.directory}",
                hint=f"name a directory below one of tor's own, or give tor write access to {parent}",
            )

    def make(self, directory: Path) -> None:
        """Make a directory for tor, this one or one in it, where there is none; raises OSError."""
        if directory.exists():
            return
        # tor asks for exactly these modes: 0750 where HiddenServiceDirGroupReadable is set, 0700 elsewhere.
        directory.mkdir(mode=0o700)
        if self.shared:
            directory.chmod(0o750)
        self._give_to_tor(directory)

    def write(self, file: Path, content: str, mode: int) -> None:
        """Write a file for tor, of ASCII, that is not there yet; raises OSError, and then it is not there."""
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(opened, "w", encoding="ascii") as writing:
                self._give_to_tor(opened)
                writing.write(content)
        except OSError:
            file.unlink()
            raise

    def _give_to_tor(self, file: Path | int) -> None:
        if self.tor_uid is not None:
            os.chown(file, self.tor_uid, -1)

    def address(self) -> str:
        """Read the address that tor has written."""
        try:
            return read_address(self.directory)
        except OSError as error:
            raise _unreadable("the onion service's address", self.directory / _HOSTNAME) from error


def read_address(directory: Path) -> str:
    """Read the address that tor writes into a HiddenServiceDir; raises OSError. Blocks."""
    return (directory / _HOSTNAME).read_text(encoding="latin-1").strip()


def _unreadable(what: str, path: Path) -> SettingsError:
    trouble = denied(path, os.R_OK)
    return SettingsError(f"{what}: {trouble.detail}", hint=trouble.hint)
