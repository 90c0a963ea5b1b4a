"""The clock of the database, which all servers on it share, and what is said when it is set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from onion_rdv.rendezvous.clock_watch import TOLERATED, ClockWatch, steady, warn

if TYPE_CHECKING:
    from collections.abc import Callable

_CURE = "look at timedatectl on the database's machine, and at what sets the clock there"


class DatabaseClock:
    """Unix time as the database told it last, carried on by this machine's steady clock.

    With a clock for each server, one that is a second ahead would open buckets that the others take for coming from
    the future, and close.
    """

    def __init__(self, name: str, instead: Callable[[], float] | None = None) -> None:
        """Begin; ``name`` is the database's for people, and ``instead`` what a test sets."""
        self._name = f"the clock of {name}"
        self._instead = instead
        self._heard = time.time()  # until the database has said it
        self._ahead = self._heard - steady()
        self._watch: ClockWatch | None = None

    @property
    def given(self) -> float | None:
        """What statements are given for the time: None lets the database look at its own."""
        return self._instead() if self._instead else None

    def heard(self, now: float) -> None:
        """Note what the database said; logs that its clock is not this machine's, or that it was set since."""
        self._heard = now
        if self._watch is None:
            if self._instead is None:
                warn(self._compare(now - steady() - self._ahead))
            self._watch = ClockWatch(lambda: self._heard, steady, name=self._name, cure=_CURE)
        else:
            warn(self._watch.look())
        self._ahead = now - steady()

    @property
    def now(self) -> float:
        """What time it is there."""
        return self._instead() if self._instead else steady() + self._ahead

    def _compare(self, ahead: float) -> str | None:
        if abs(ahead) <= TOLERATED:
            return None
        return (
            f"{self._name} is {abs(ahead):.0f} seconds {'ahead of' if ahead > 0 else 'behind'} this machine's;"
            f" if it is wrong, clients refuse new buckets, and those whose lifetime is over by it are erased: {_CURE}"
        )
