"""What an operator decides about buckets: how long they are open and kept, and how many may be opened."""

from __future__ import annotations

from dataclasses import dataclass

from onion_rdv.errors import SettingsError, TooManyBuckets
from onion_rdv.protocol import Limits
from onion_rdv.protocol.bucket import LIFETIME, WINDOW

DEFAULT_WINDOW = WINDOW
"""Seconds that a bucket takes entries, unless it is full earlier."""

DEFAULT_LIFETIME = LIFETIME
"""Seconds after which a bucket is erased, counted from the second in which it was opened."""

DEFAULT_MAX_NEW_BUCKETS = 60
"""Buckets that may be opened in a minute: room for 64 stores a second, five and a half million a day."""

CEILING_SECONDS = 60
"""The time that new buckets are counted over, up to the second that is now."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many buckets may be opened, so that a flood of stores cannot bring about buckets that clients refuse.

    ``a_minute`` is how many in any 60 seconds, 0 being as many as come; ``number`` is the highest that a bucket may
    have within its second, what clients accept by default.
    """

    a_minute: int = DEFAULT_MAX_NEW_BUCKETS
    number: int = Limits().max_bucket_number

    def check(self, number: int, lately: int) -> None:
        """Raise :class:`~onion_rdv.errors.TooManyBuckets` when no bucket with this number may be opened now.

        ``lately`` is how many the store has that were opened within the last 60 seconds.
        """
        if number > self.number:
            raise TooManyBuckets(f"{self.number + 1} with the time of one second, and clients accept no more")
        if self.a_minute and lately >= self.a_minute:
            raise TooManyBuckets(f"{self.a_minute} in a minute, which is the ceiling")


NO_CEILING = Ceiling(a_minute=0, number=2**32 - 1)
"""For measurements and tests: as many buckets as there are numbers."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What every store of buckets goes by; ``window`` and ``lifetime`` are seconds.

    Raises :class:`~onion_rdv.errors.SettingsError` when it would be erased while it is open.
    """

    window: float = DEFAULT_WINDOW
    lifetime: float = DEFAULT_LIFETIME
    ceiling: Ceiling = Ceiling()

    def __post_init__(self) -> None:
        if self.lifetime <= self.window:
            raise SettingsError("buckets must be kept longer than they are open", settings=("lifetime", "window"))


DEFAULT_RULES = Rules()

KEEP_ALL = Rules(window=2**62, lifetime=2**63)
"""For whoever opens a store to back it up: whatever its operator has decided, nothing expires meanwhile."""
