"""The directory in which a server keeps its key and its data: ours alone."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError, StoreError
from onion_rdv.tor.onion_service import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make_private(directory: Path) -> None:
    """Make the directory, or close it to others; what root makes belongs to the owner of the directory above. Blocks.

    Raises :class:`~onion_rdv.errors.SettingsError`, and :class:`~onion_rdv.errors.StoreError` for a disk that is full
    or fails.
    """
    try:
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            for made in reversed(missing):
                _give_away(made)
        if stat.S_IMODE(directory.stat().st_mode) & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise disk.fault(error, _named(directory)) or _unusable(directory, error.strerror) from None


def _give_away(directory: Path) -> None:
    """Let a directory belong to the owner of the one above, who may put a link in its place meanwhile."""
    above = directory.parent.stat()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, above.st_uid, above.st_gid)
    finally:
        os.close(descriptor)


@contextmanager
def in_use(directory: Path) -> Iterator[None]:
    """Have the directory for one process alone while the block runs, or until that process ends. Blocks.

    Raises :class:`~onion_rdv.errors.StoreError` where another one has it, and
    :class:`~onion_rdv.errors.SettingsError` where it cannot be opened.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(directory, error.strerror) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another server is running on {directory}",
                hint="stop it first, or give this one a state directory of its own",
            ) from None
        yield
    finally:
        os.close(descriptor)


def check(directory: Path) -> None:
    """Raise as :func:`make_private` does where it cannot be used or made. Blocks."""
    there = next(one for one in (directory, *directory.parents) if one.exists())
    if not there.is_dir():
        raise _unusable(directory, f"{there} is no directory")
    if not os.access(there, os.W_OK | os.X_OK):
        if os.statvfs(there).f_flag & os.ST_RDONLY:
            raise disk.failed(_named(directory), os.strerror(errno.EROFS))
        raise _unusable(directory, f"this user may not write to {there}")


def _named(directory: Path) -> str:
    return f"the state directory {directory}"


def _unusable(directory: Path, reason: str | None) -> SettingsError:
    return SettingsError(
        f"{_named(directory)} cannot be used ({reason})",
        hint="run as the user that it belongs to, or name another with --state-dir",
        settings=("state_dir",),
    )
