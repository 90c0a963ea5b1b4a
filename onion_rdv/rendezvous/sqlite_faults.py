"""What faults of SQLite and the file system mean for whoever runs the server."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from onion_rdv.errors import RdvError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_HINT_BUSY = "stop it first, or give this one a state directory of its own"
_HINT_WRITABLE = (
    "the directory and the file must belong to the user that runs the server, on a disk that can be written"
)
_DAMAGED = (
    "{path} is damaged, or it is no database",
    "put a backup back, or move the file away: the server then begins a new store and old invites are lost",
)

_FAULTS = {
    sqlite3.SQLITE_BUSY: ("another program has {path} open", _HINT_BUSY),
    sqlite3.SQLITE_FULL: (
        "there is no space left for {path}",
        "free some space on that disk; the server goes on by itself",
    ),
    sqlite3.SQLITE_READONLY: ("{path} cannot be written", _HINT_WRITABLE),
    sqlite3.SQLITE_CANTOPEN: ("{path} cannot be opened", _HINT_WRITABLE),
    sqlite3.SQLITE_PERM: ("{path} cannot be opened", _HINT_WRITABLE),
    sqlite3.SQLITE_IOERR: (
        "the disk under {path} fails, or a limit on file sizes was reached",
        "look into the kernel's log (journalctl -k) and at the disk's space",
    ),
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
}


class Damaged(sqlite3.DatabaseError):
    """Something in the file is wrong in a way that SQLite does not notice."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def explain(error: Exception, path: Path) -> StoreError:
    """Say it with its cause and cure."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, BlockingIOError):  # the lock is taken
        return StoreError(f"another server is running on {path}", hint=_HINT_BUSY)
    if isinstance(error, OSError):
        return StoreError(f"{path} cannot be opened ({error.strerror})", hint=_HINT_WRITABLE)
    if not isinstance(error, sqlite3.Error):
        return StoreError(f"a fault inside ({type(error).__name__})", hint=RdvError.default_hint)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extended part
    if code not in _FAULTS:
        return StoreError(f"{path} cannot be used ({error})")
    detail, hint = _FAULTS[code]
    return StoreError(detail.format(path=path), hint=hint)
