"""What one circuit may hold open and store, so that nobody fills the buckets or the server alone.

An honest client takes a new circuit for every request. What is known of a circuit is how many of its streams are open
and how many entries it brought in the last minute or two; it is in memory only, goes nowhere, and is forgotten then.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from onion_rdv.rendezvous.limits import CircuitLimits

PERIOD: Final = 60.0
"""Seconds after which counting begins anew; what was counted is remembered for one period more."""


class Circuits:
    """Counts, by the circuits' numbers; ``call_later`` is the event loop's, whose times are seconds."""

    def __init__(
        self, limits: CircuitLimits, call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle]
    ) -> None:
        self._limits = limits
        self._call_later = call_later
        self._open: Counter[int] = Counter()
        self._stored: Counter[int] = Counter()
        self._stored_before: Counter[int] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def open(self, circuit: int) -> bool:
        """Count a stream in, where its circuit may have one more."""
        if self._limits.streams and self._open[circuit] >= self._limits.streams:
            return False
        self._open[circuit] += 1
        return True

    def close(self, circuit: int) -> None:
        """Count a stream out."""
        self._open[circuit] -= 1
        if not self._open[circuit]:
            del self._open[circuit]

    def may_store(self, circuit: int) -> bool:
        """Count an entry, where its circuit may bring one more."""
        if self._limits.stores and self._stored[circuit] + self._stored_before[circuit] >= self._limits.stores:
            return False
        self._stored[circuit] += 1
        if self._timer is None:
            self._timer = self._call_later(PERIOD, self._forget)
        return True

    def stop(self) -> None:
        """Forget everything now."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._stored.clear()
        self._stored_before.clear()

    @property
    def known(self) -> int:
        """How many circuits something is remembered of."""
        return len(self._open.keys() | self._stored.keys() | self._stored_before.keys())

    def _forget(self) -> None:
        self._stored_before, self._stored = self._stored, Counter()
        self._timer = self._call_later(PERIOD, self._forget) if self._stored_before else None
