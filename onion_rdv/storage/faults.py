"""What faults of SQLite and the file system mean for whoever runs the server."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from math import inf
from typing import TYPE_CHECKING

from onion_rdv.errors import RdvError, StoreError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from pathlib import Path

_HINT_BUSY = "stop it first, or give this one a state directory of its own"
_HINT_WRITABLE = (
    "the directory and the file must belong to the user that runs the server, on a disk that can be written"
)
_DAMAGED = (
    "{path} is damaged, or it is no database",
    "put a backup back, or move the file away: the server then begins a new store and {lost} are lost",
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

_COMPLAIN_AGAIN = 60.0
"""Seconds for which the same fault is not logged again."""


class Damaged(sqlite3.DatabaseError):
    """Something in the file is wrong in a way that SQLite does not notice."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def explain(error: Exception, path: Path, lost: str) -> StoreError:
    """Say it with its cause and cure; ``lost`` names what goes with the file."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, BlockingIOError):  # the lock is taken
        return StoreError(f"another server is running on {path}", hint=_HINT_BUSY)
    if isinstance(error, OSError):
        return StoreError(f"{path} cannot be opened ({error.strerror})", hint=_HINT_WRITABLE)
    if not isinstance(error, sqlite3.Error):
        return fault_inside(error)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extended part
    if code not in _FAULTS:
        return StoreError(f"{path} cannot be used ({error})")
    detail, hint = _FAULTS[code]
    return StoreError(detail.format(path=path), hint=hint.format(lost=lost))


def fault_inside(error: Exception) -> StoreError:
    """Tell of what no operator can mend."""
    return StoreError(f"a fault inside ({type(error).__name__})", hint=RdvError.default_hint)


def again(error: StoreError) -> StoreError:
    """Copy an error: one that is raised in several tasks would collect the tracebacks of all."""
    return type(error)(error.detail, hint=error.hint)


class Complaints:
    """Tells an operator of faults: each at once, and not again for a minute."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._silent_until: dict[str, float] = {}  # by message (monotonic clock)

    def tell(self, fault: StoreError) -> None:
        """Log a fault with its cause and cure, unless that was done lately."""
        if self._silent_until.get(fault.message, -inf) <= time.monotonic():
            self._silent_until[fault.message] = time.monotonic() + _COMPLAIN_AGAIN
            self._logger.error("%s; %s", fault.message, fault.hint)


class Faults:
    """Turns every fault of a store into :class:`~onion_rdv.errors.StoreError`, and logs each once a minute."""

    def __init__(self, path: Path, lost: str, logger: logging.Logger, give_up: Callable[[], None]) -> None:
        """Prepare for the store at ``path``; ``give_up`` is called after each fault, to begin anew with the file."""
        self._path = path
        self._lost = lost
        self._give_up = give_up
        self._complaints = Complaints(logger)

    @contextlib.contextmanager
    def turned(self, *, tells: bool = True) -> Iterator[None]:
        """Do what is done inside; where it ``tells`` nobody, whoever hears the error says it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
            fault = explain(error, self._path, self._lost)
            self._give_up()
            if tells:
                self._complaints.tell(fault)
            raise fault from None
