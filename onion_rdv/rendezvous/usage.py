"""How much the server is used, in sums that show nothing about a single bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onion_rdv.protocol import BUCKET_ENTRIES

if TYPE_CHECKING:
    from random import Random

STEP = BUCKET_ENTRIES
"""What is kept on disk grows in steps of a whole bucket, so that no sum shows how many entries a bucket held."""


class Usage:
    """Counts since ever: what earlier runs left on disk, and this run's own.

    Each count is raised by one thread only.
    """

    def __init__(self, opened: int = 0, stored: int = 0, fetched: int = 0) -> None:
        self.opened = opened
        self.stored = stored
        self.fetched = fetched
        self._saved = (opened, stored, fetched)
        self._told = (opened, stored, fetched)

    def take_unsaved(self, randomness: Random) -> tuple[int, int, int]:
        """Say what to add to the counts on disk; the next call begins where this one ended.

        Entries and fetches are rounded to a multiple of 64, up or down at random so that the sum is right on average.
        """
        now = (self.opened, self.stored, self.fetched)
        opened, stored, fetched = (count - saved for count, saved in zip(now, self._saved, strict=True))
        self._saved = now
        blurred = opened, _blur(stored, randomness), _blur(fetched, randomness)
        self._told = self._told[0] + blurred[0], self._told[1] + blurred[1], self._told[2] + blurred[2]
        return blurred

    @property
    def told(self) -> tuple[int, int, int]:
        """What earlier runs left on disk and :meth:`take_unsaved` has said of this one, together."""
        return self._told

    @property
    def untold(self) -> tuple[int, int, int]:
        """How far this run's own counts are from what :meth:`take_unsaved` has said of them, up or down."""
        opened, stored, fetched = self._told
        return self.opened - opened, self.stored - stored, self.fetched - fetched


def _blur(count: int, randomness: Random) -> int:
    steps, rest = divmod(count, STEP)
    return (steps + (randomness.randrange(STEP) < rest)) * STEP
