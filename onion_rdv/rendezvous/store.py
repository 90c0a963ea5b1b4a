"""What every store of buckets promises, whatever database is behind it (docs/protocol.md, "Server")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onion_rdv.protocol import BucketId


@dataclass(frozen=True, slots=True)
class StoredBucket:
    """Where an entry went: the bucket's id and its 16,384 bytes with the entry among them."""

    bucket_id: BucketId
    bucket: bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """What an operator may know: sums over everybody, nothing about a request, a client or a bucket."""

    buckets: int
    """Buckets that the store keeps now."""

    open: int
    """How many of them take entries: 0 or 1."""

    oldest: int | None
    """Unix second in which the oldest of them was opened; it expires first."""

    size: int
    """Bytes that the store takes on disk."""

    opened: int
    """Buckets that were ever opened."""

    stored: int
    """Entries that were ever stored, as good as the store's own blurring of what it keeps on disk."""

    fetched: int
    """Buckets that were ever served to a fetch, with the same blur."""


class BucketStore(Protocol):
    """Keeps entries in buckets until they expire; all its methods may be called by many tasks at once."""

    async def store(self, entry: bytes) -> StoredBucket:
        """Put an entry of 256 bytes at a random free place of the open bucket.

        When this returns, the entry survives a crash of the process and of the machine. Raises
        :class:`~onion_rdv.errors.StoreError` when it could not be kept; then it was not acknowledged, and the caller
        may try again later. One of them is :class:`~onion_rdv.errors.TooManyBuckets`: the entry needs a new bucket,
        and the ceiling is reached (``rules.py``).
        """

    async def fetch(self, link: bytes) -> bytes | None:
        """Give the 16,384 bytes of the bucket with this 16-byte link; None if there is none, or it has expired.

        Raises :class:`~onion_rdv.errors.StoreError` when the store cannot be read.
        """

    async def totals(self) -> Totals:
        """Give the sums that an operator may know.

        Raises :class:`~onion_rdv.errors.StoreError` when the store cannot be read.
        """

    async def close(self) -> None:
        """Finish what was asked for and give everything back; the open bucket stays open in the store."""
