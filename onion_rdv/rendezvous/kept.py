"""What a store gives out when it is backed up or moved, and takes in again, whatever database is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.errors import StoreError

if TYPE_CHECKING:
    from onion_rdv.protocol import BucketId


@dataclass(frozen=True, slots=True)
class KeptBucket:
    """A bucket: its id, the 16-byte link under which it is found, and its 16,384 bytes.

    Which of its places hold entries is not told: a bucket that was open is closed where it is taken in.
    """

    bucket_id: BucketId
    link: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Marks:
    """What a store remembers beside its buckets; it comes after them.

    Every bucket that was erased was opened in second ``erased_until`` or earlier and had no higher number than
    ``erased_number`` (both -1 where none was), so that no id comes back. ``opened``, ``stored`` and ``fetched`` are
    the sums since ever that it keeps on disk.
    """

    erased_until: int
    erased_number: int
    opened: int
    stored: int
    fetched: int


Kept = KeptBucket | Marks
"""What :meth:`BucketStore.export` gives, in the order of bucket ids, and :meth:`BucketStore.take_in` takes."""


def not_empty() -> StoreError:
    """Give the error of a store that is asked to take in what another gave out, and has buckets of its own."""
    return StoreError("it has buckets already", hint="restore into an empty store, or erase this one before")
