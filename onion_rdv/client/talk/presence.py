"""Whether the other is there: when to ask, and when no answer means that they are silent."""

from __future__ import annotations

PING_AFTER = 30.0
"""Seconds of silence after which the other is asked for a sign."""

SILENT_AFTER = 30.0
"""Seconds without an answer after which the other counts as silent."""


class Presence:
    """Keeps the time at which the other was last heard."""

    def __init__(self, now: float) -> None:
        """Begin with the other being there."""
        self.heard_at = now
        self.here = True
        self._asked_at: float | None = None

    def heard(self, now: float) -> bool:
        """Note that the other was heard; tells whether they had been silent."""
        self.heard_at = now
        came_back, self.here = not self.here, True
        return came_back

    def asked(self, now: float) -> None:
        """Note that something which wants an answer lies at the server."""
        if self._asked_at is None:
            self._asked_at = now

    def answered(self) -> None:
        """Note that nothing is unanswered."""
        self._asked_at = None

    def wants_sign(self, now: float) -> bool:
        """Tell whether it is time to ask. Nobody is asked twice: pings must not fill the queue of who is away."""
        return self._asked_at is None and now >= self.heard_at + PING_AFTER

    def turns_silent(self, now: float) -> bool:
        """Tell whether the other counts as silent from now on."""
        if not self.here or self._asked_at is None or now < self._silent_at(self._asked_at):
            return False
        self.here = False
        return True

    def next_due(self) -> float | None:
        """Give the time at which one of these may change by itself; None for never."""
        if self._asked_at is None:
            return self.heard_at + PING_AFTER
        return self._silent_at(self._asked_at) if self.here else None

    def _silent_at(self, asked_at: float) -> float:
        return max(asked_at, self.heard_at) + SILENT_AFTER
