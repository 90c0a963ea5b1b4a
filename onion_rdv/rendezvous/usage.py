"""How much the server is used, in sums that show nothing about a single bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.protocol import BUCKET_ENTRIES

if TYPE_CHECKING:
    from random import Random

STEP = BUCKET_ENTRIES
"""What is kept on disk grows in steps of a whole bucket, so that no sum shows how many entries a bucket held."""


@dataclass(frozen=True, slots=True)
class Unsaved:
    """What the sums on disk lack."""

    exactly: tuple[int, int]
    """How far entries and fetches had been counted."""

    rounded: tuple[int, int]
    """What is to be added on disk: multiples of 64."""


class Usage:
    """Counts of entries and fetches since ever: what earlier runs left on disk, and this run's own.

    Each count is raised by one thread only.
    """

    def __init__(self, stored: int = 0, fetched: int = 0) -> None:
        self.stored = stored
        self.fetched = fetched
        self._saved = (stored, fetched)
        self._told = (stored, fetched)

    def unsaved(self, randomness: Random) -> Unsaved:
        """Say what to add to the sums on disk; :meth:`saved` is to be called when it has been committed.

        It is rounded to a multiple of 64, up or down at random so that the sum is right on average.
        """
        now = (self.stored, self.fetched)
        stored, fetched = (count - saved for count, saved in zip(now, self._saved, strict=True))
        return Unsaved(now, (_blur(stored, randomness), _blur(fetched, randomness)))

    def saved(self, unsaved: Unsaved) -> None:
        """Note that it is on disk: what is asked for next begins where it ended."""
        self._saved = unsaved.exactly
        self._told = self._told[0] + unsaved.rounded[0], self._told[1] + unsaved.rounded[1]

    @property
    def told(self) -> tuple[int, int]:
        """What earlier runs and this one have left on disk, together."""
        return self._told

    @property
    def untold(self) -> tuple[int, int]:
        """How far this run's own counts are from what it has left on disk, up or down."""
        return self.stored - self._told[0], self.fetched - self._told[1]


def _blur(count: int, randomness: Random) -> int:
    steps, rest = divmod(count, STEP)
    return (steps + (randomness.randrange(STEP) < rest)) * STEP
