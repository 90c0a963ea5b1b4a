"""The one bucket that is open: which of its places are free, and what it looks like from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, ENTRY_SIZE, BucketId

if TYPE_CHECKING:
    from random import Random

TAKEN_SIZE = BUCKET_ENTRIES // 8
"""Bytes that say which places are taken: one bit for each, the first place being the lowest bit of the number."""

_KEY_SIZE = 16
"""Bytes of a random key; no two are equal, so every order is as likely as any other."""


class FillingBucket:
    """A bucket that takes entries; what is not an entry in it is random."""

    def __init__(self, key: int, bucket_id: BucketId, content: bytes, taken: bytes, randomness: Random) -> None:
        """Go on with a bucket that the store knows under ``key``; ``taken`` has 8 bytes."""
        self.key = key
        self.bucket_id = bucket_id
        self._content = bytearray(content)
        self._taken = int.from_bytes(taken)
        # The order of the free places is drawn at once: taking the last is then the same as drawing one each time.
        # Sorting by random keys asks for randomness once; a shuffle would ask 63 times.
        keys = randomness.randbytes(BUCKET_ENTRIES * _KEY_SIZE)
        free = (place for place in range(BUCKET_ENTRIES) if not self._taken >> place & 1)
        self._free = sorted(free, key=lambda place: keys[place * _KEY_SIZE : (place + 1) * _KEY_SIZE])

    @classmethod
    def new(cls, key: int, bucket_id: BucketId, randomness: Random) -> Self:
        """Open a bucket: random from one end to the other, so that a place shows nothing when an entry takes it."""
        return cls(key, bucket_id, randomness.randbytes(BUCKET_SIZE), bytes(TAKEN_SIZE), randomness)

    @property
    def room(self) -> int:
        """How many more entries go in."""
        return len(self._free)

    @property
    def taken(self) -> bytes:
        """The 8 bytes that say which places are taken."""
        return self._taken.to_bytes(TAKEN_SIZE)

    def put(self, entry: bytes) -> int:
        """Let an entry of 256 bytes take a free place, of which there must be one; give the place."""
        place = self._free.pop()
        self._taken |= 1 << place
        self._content[place * ENTRY_SIZE : (place + 1) * ENTRY_SIZE] = entry
        return place

    def content(self) -> bytes:
        """Give the 16,384 bytes as they are now."""
        return bytes(self._content)

    def is_current(self, now: float, window: float) -> bool:
        """Tell whether the bucket may take entries now.

        A bucket opened in the future (the clock was set back) may not: clients would refuse its time.
        """
        return self.bucket_id.created_at <= now < self.bucket_id.created_at + window
