"""The store that needs no database server: one SQLite file, on one machine, for one process.

The event loop keeps the buckets that were asked for lately; a thread works on the file (``sqlite_thread.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Self, TypeVar

from onion_rdv.errors import StoreError
from onion_rdv.protocol import ENTRY_SIZE
from onion_rdv.rendezvous.cache import DEFAULT_CACHED_BUCKETS, BucketCache
from onion_rdv.rendezvous.kept import Marks, not_empty
from onion_rdv.rendezvous.links import LinkMaker
from onion_rdv.rendezvous.rules import DEFAULT_RULES, Rules
from onion_rdv.rendezvous.sqlite_file import StoreFile
from onion_rdv.rendezvous.sqlite_jobs import Fetch, Found, Link, Outcome, Stop, Store, Work
from onion_rdv.rendezvous.sqlite_thread import FileThread
from onion_rdv.rendezvous.store import DEFAULT_TICK
from onion_rdv.storage.jobs import settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from random import Random

    from onion_rdv.protocol import BucketId
    from onion_rdv.rendezvous.kept import Kept
    from onion_rdv.rendezvous.sqlite_jobs import Written
    from onion_rdv.rendezvous.store import StoredBucket, Totals

_T = TypeVar("_T")

_EXPORTED_AT_ONCE = 16
"""Buckets read in one go, so that stores need not wait for long."""

_TAKEN_IN_AT_ONCE = 256
"""Buckets written in one transaction: 4 MiB."""


class SqliteStore:
    """A :class:`~onion_rdv.rendezvous.store.BucketStore` in one file; made with :meth:`open`."""

    def __init__(self, onion_key: bytes, cached_buckets: int) -> None:
        self._cache: BucketCache[bytes] = BucketCache(cached_buckets)
        self._links = LinkMaker(onion_key, self._link_made)
        self._waiting: list[tuple[bytes, asyncio.Future[StoredBucket]]] = []
        self._newest: Written | None = None  # the open bucket, or the one that was open last
        self._newest_link: bytes | None = None
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self._thread: FileThread

    @classmethod
    async def open(
        cls,
        path: Path,
        onion_key: bytes,
        rules: Rules = DEFAULT_RULES,
        *,
        cached_buckets: int = DEFAULT_CACHED_BUCKETS,
        tick: float = DEFAULT_TICK,
        clock: Callable[[], float] = time.time,
        randomness: Random | None = None,
    ) -> Self:
        """Open the store in the file at ``path``, which is made if it is not there, for one onion service.

        ``onion_key`` is the service's 32-byte ed25519 public key. ``randomness`` is the operating system's unless a
        test brings its own.

        Raises :class:`~onion_rdv.errors.StoreError` when the file cannot be used: it belongs to another onion
        service, another server has it open, a newer version wrote it, it is damaged or cannot be written.
        """
        store = cls(onion_key, cached_buckets)
        store._thread = FileThread(
            path,
            onion_key,
            rules,
            tick=tick,
            clock=clock,
            randomness=randomness or SystemRandom(),
            report=store._report,
        )
        store._thread.start()
        try:
            await store._started
        except StoreError:
            store._links.close()
            store._thread.join()
            raise
        except asyncio.CancelledError:  # the file is not to be written behind the back of who gave it up
            store._links.close()
            store._thread.put(Stop())
            store._thread.join()
            raise
        return store

    def store(self, entry: bytes) -> Awaitable[StoredBucket]:
        """Keep an entry; see :meth:`BucketStore.store`."""
        if len(entry) != ENTRY_SIZE:
            raise ValueError(f"an entry has {ENTRY_SIZE} bytes, not {len(entry)}")
        stored: asyncio.Future[StoredBucket] = self._loop.create_future()
        if self._closing:
            stored.set_exception(_closed())
            return stored
        if not self._waiting:
            # Whoever else stores in this turn of the event loop goes into the same transaction.
            self._loop.call_soon(self._hand_over)
        self._waiting.append((entry, stored))
        return stored

    def fetch(self, link: bytes) -> Awaitable[bytes | None]:
        """Look a bucket up, which is over at once where it is in memory; see :meth:`BucketStore.fetch`."""
        bucket = self._cache.get(link)
        if bucket is None:
            return self._loop.create_task(self._fetch_from_file(link))
        self._thread.usage.fetched += 1
        fetched: asyncio.Future[bytes | None] = self._loop.create_future()
        fetched.set_result(bucket)
        return fetched

    async def totals(self) -> Totals:
        """Give the sums that an operator may know."""
        return self._thread.totals()

    async def export(self) -> AsyncGenerator[Kept]:
        """Give what is kept; see :meth:`BucketStore.export`."""
        await self._links.settled()  # whatever was acknowledged has its link by then
        after = None
        while page := await self._work(partial(StoreFile.page, after=after, limit=_EXPORTED_AT_ONCE)):
            for bucket in page:
                yield bucket
            after = page[-1].bucket_id
        yield await self._work(StoreFile.marks)

    async def take_in(self, kept: AsyncIterator[Kept]) -> None:
        """Take in what another store gave out; see :meth:`BucketStore.take_in`."""
        if await self._work(StoreFile.count):
            raise not_empty()
        waiting: list[Kept] = []
        async for one in kept:
            waiting.append(one)
            if len(waiting) == _TAKEN_IN_AT_ONCE or isinstance(one, Marks):
                await self._work(partial(StoreFile.take_in, kept=waiting), writes=True)
                waiting = []

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._thread.put(Stop())
            await self._ended
            self._thread.join()
            self._links.close()

    def _refuse_when_closed(self) -> None:
        if self._closing:
            raise _closed()

    async def _fetch_from_file(self, link: bytes) -> bytes | None:
        self._refuse_when_closed()
        some_are_to_come = self._links.some_are_to_come
        bucket = await self._read(link)
        if bucket is None and some_are_to_come:
            await self._links.settled(link)
            self._refuse_when_closed()
            bucket = self._cache.get(link) or await self._read(link)
        if bucket is not None:
            self._thread.usage.fetched += 1
        return bucket

    async def _read(self, link: bytes) -> bytes | None:
        found: asyncio.Future[bytes | None] = self._loop.create_future()
        self._thread.put(Fetch(link, found))
        return await found

    async def _work(self, do: Callable[[StoreFile], _T], *, writes: bool = False) -> _T:
        self._refuse_when_closed()
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._thread.put(Work(do, answer, writes))
        return await answer

    def _hand_over(self) -> None:
        if self._waiting:
            self._thread.put(Store(self._waiting))
            self._waiting = []

    def _link_made(self, key: int, bucket_id: BucketId, link: bytes) -> None:
        if self._newest is not None and self._newest.bucket_id == bucket_id:
            self._newest_link = link
            self._cache.put(link, self._newest.content)
        self._thread.put(Link(key, bucket_id, link))

    def _report(self, news: Found | Outcome | StoreError | None) -> None:
        """Take what the thread has to say over into the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(self._hear, news)

    def _hear(self, news: Found | Outcome | StoreError | None) -> None:
        match news:
            case Outcome():
                self._hear_outcome(news)
            case Found():
                self._hear_found(news)
                settle(self._started, None)
            case StoreError():
                settle(self._started, news)
            case None:
                settle(self._ended, None)

    def _hear_found(self, found: Found) -> None:
        # What was refused when something failed may have reached the disk all the same: entries, a new bucket, or
        # that others were erased. So what is in memory may be behind the file.
        self._cache.clear()
        newest, link = found.filling, found.filling_link
        if (
            link is None
            and newest is not None
            and self._newest is not None
            and newest.bucket_id == self._newest.bucket_id
        ):
            link = self._newest_link  # it was computed, and is not written yet
        self._newest, self._newest_link = newest, link
        if newest is not None and link is not None:
            self._cache.put(link, newest.content)
        for key, bucket_id in found.unlinked:
            self._links.make(key, bucket_id)

    def _hear_outcome(self, outcome: Outcome) -> None:
        # The cache changes here and nowhere later, in the order in which the file did: so it is never behind it.
        for bucket in outcome.written:
            if bucket.is_new:
                self._newest_link = None
                self._links.make(bucket.key, bucket.bucket_id)
            self._newest = bucket
            if self._newest_link is not None:
                self._cache.put(self._newest_link, bucket.content)
        for stored, result in outcome.stored:
            settle(stored, result)
        for fetch, found in outcome.found:
            if isinstance(found, bytes):
                self._cache.put(fetch.link, found)
            settle(fetch.answer, found)
        for answer, result in outcome.done:
            settle(answer, result)
        for link in outcome.erased:
            self._cache.drop(link)


def _closed() -> StoreError:
    return StoreError("it is closed", hint="")
