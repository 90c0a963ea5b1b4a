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

    def take_unsaved(self, randomness: Random) -> tuple[int, int, int]:
        """Say what to add to the counts on disk; the next call begins where this one ended.

        Entries and fetches are rounded to a multiple of 64, up or down at random so that the sum is right on average.
        """
        now = (self.opened, self.stored, self.fetched)
        opened, stored, fetched = (count - saved for count, saved in zip(now, self._saved, strict=True))
        self._saved = now
        return opened, _blur(stored, randomness), _blur(fetched, randomness)


def _blur(count: int, randomness: Random) -> int:
    steps, rest = divmod(count, STEP)
    return (steps + (randomness.randrange(STEP) < rest)) * STEP
