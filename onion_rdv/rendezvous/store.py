"""What every store of buckets promises, whatever database is behind it (docs/protocol.md, "Server")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

    from onion_rdv.protocol import BucketId
    from onion_rdv.rendezvous.kept import Kept


DEFAULT_TICK = 1.0
"""Seconds between two looks at the clock, and so how late a bucket may close or be erased."""


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

    stored_on_disk: int
    """Entries that were ever stored, as the store keeps it on disk: in steps of 64, and never less than before."""

    fetched_on_disk: int
    """The same for buckets that were served."""


class BucketStore(Protocol):
    """Keeps entries in buckets until they expire; all its methods may be called by many tasks at once."""

    def store(self, entry: bytes) -> Awaitable[StoredBucket]:
        """Put an entry of 256 bytes at a random free place of the open bucket.

        When this is over, the entry survives a crash of the process and of the machine. Raises
        :class:`~onion_rdv.errors.StoreError` when it could not be kept; then it was not acknowledged, and the caller
        may try again later. One of them is :class:`~onion_rdv.errors.TooManyBuckets`: the entry needs a new bucket,
        and the ceiling is reached (``rules.py``).
        """

    def fetch(self, link: bytes) -> Awaitable[bytes | None]:
        """Give the 16,384 bytes of the bucket with this 16-byte link; None if there is none, or it has expired.

        Raises :class:`~onion_rdv.errors.StoreError` when the store cannot be read.
        """

    async def totals(self) -> Totals:
        """Give the sums that an operator may know.

        Raises :class:`~onion_rdv.errors.StoreError` when the store cannot be read.
        """

    def export(self) -> AsyncGenerator[Kept]:
        """Give all buckets, in the order of their ids, and last the marks; stores and fetches go on meanwhile.

        Whatever was acknowledged before this began is in it, and of what came later some may be. Raises
        :class:`~onion_rdv.errors.StoreError` when the store cannot be read.
        """

    async def take_in(self, kept: AsyncIterator[Kept]) -> None:
        """Take in what :meth:`export` of another store gave, of the same onion service; no bucket of it is open here.

        The store has to be empty, and no other method may be called meanwhile. Raises
        :class:`~onion_rdv.errors.StoreError` when it is not or cannot be written, and whatever ``kept`` raises: then
        this store is not to be used, for it may have a part.
        """

    async def close(self) -> None:
        """Finish what was asked for and give everything back; the open bucket stays open in the store."""
