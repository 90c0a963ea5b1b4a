"""The clock of the database, which all servers on it share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class DatabaseClock:
    """Unix time as the database told it last, carried on by this machine's monotonic clock.

    With a clock for each server, one that is a second ahead would open buckets that the others take for coming from
    the future, and close.
    """

    def __init__(self, instead: Callable[[], float] | None = None) -> None:
        """Begin; ``instead`` is what a test sets."""
        self._instead = instead
        self._ahead = time.time() - time.monotonic()

    @property
    def given(self) -> float | None:
        """What statements are given for the time: None lets the database look at its own."""
        return self._instead() if self._instead else None

    def heard(self, now: float) -> None:
        """Note what the database said."""
        self._ahead = now - time.monotonic()

    @property
    def now(self) -> float:
        """What time it is there."""
        return self._instead() if self._instead else time.monotonic() + self._ahead
