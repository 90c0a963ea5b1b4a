"""The store for many machines: one PostgreSQL database behind any number of servers with one address.

All of them fill the same open bucket (``postgres_writer.py``), so its crowd does not shrink with their number. This
one keeps in memory only what cannot change any more: buckets that have closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import SystemRandom
from typing import TYPE_CHECKING, Self

from onion_rdv.errors import StoreError
from onion_rdv.protocol import ENTRY_SIZE
from onion_rdv.rendezvous import postgres_moves as moves
from onion_rdv.rendezvous import postgres_tables as tables
from onion_rdv.rendezvous.cache import DEFAULT_CACHED_BUCKETS, BucketCache
from onion_rdv.rendezvous.links import LinkMaker
from onion_rdv.rendezvous.postgres_clock import DatabaseClock
from onion_rdv.rendezvous.postgres_connections import Connections
from onion_rdv.rendezvous.postgres_setup import set_up
from onion_rdv.rendezvous.postgres_writer import Writer
from onion_rdv.rendezvous.rules import DEFAULT_RULES, Rules
from onion_rdv.rendezvous.store import DEFAULT_TICK, StoredBucket, Totals
from onion_rdv.rendezvous.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from random import Random

    from onion_rdv.protocol import BucketId
    from onion_rdv.rendezvous.kept import Kept
    from onion_rdv.rendezvous.postgres_address import DatabaseAddress
    from onion_rdv.rendezvous.postgres_tables import FoundBucket

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_ERASED_AT_ONCE = 64
"""Buckets in one transaction of erasing."""


class PostgresStore:
    """A :class:`~onion_rdv.rendezvous.store.BucketStore` in a database; made with :meth:`open`."""

    def __init__(
        self,
        connections: Connections,
        onion_key: bytes,
        rules: Rules,
        *,
        cached_buckets: int,
        tick: float,
        clock: Callable[[], float] | None,
        randomness: Random,
    ) -> None:
        self._connections = connections
        self._rules = rules
        self._tick = tick
        self._clock = DatabaseClock(connections.name, clock)
        self._random = randomness
        self._usage = Usage()
        self._cache: BucketCache[FoundBucket] = BucketCache(cached_buckets)
        self._links = LinkMaker(onion_key, self._link_made)
        self._made: dict[bytes, int] = {}  # links that have still to be written, with the keys of their buckets
        self._something_to_tend = asyncio.Event()
        self._writer = Writer(
            connections, rules, self._usage, clock=self._clock, randomness=randomness, opened=self._links.make
        )
        self._closing = False
        self._tasks = [asyncio.create_task(self._writer.run()), asyncio.create_task(self._tend_for_ever())]

    @classmethod
    async def open(
        cls,
        address: DatabaseAddress,
        onion_key: bytes,
        rules: Rules = DEFAULT_RULES,
        *,
        cached_buckets: int = DEFAULT_CACHED_BUCKETS,
        tick: float = DEFAULT_TICK,
        clock: Callable[[], float] | None = None,
        randomness: Random | None = None,
    ) -> Self:
        """Open the store in a database, in which it is made if it is not there, for one onion service.

        ``onion_key`` is the 32-byte ed25519 public key that clients know the service by. ``clock`` is the database's
        and ``randomness`` the operating system's unless a test brings its own.

        Raises :class:`~onion_rdv.errors.StoreError` when the database cannot be reached or used: it belongs to
        another onion service, a newer version wrote it, its settings would lose what was committed.
        """
        connections = await Connections.prepare(address, _LOGGER)
        try:
            await set_up(connections, onion_key)
        except BaseException:
            await connections.close()
            raise
        return cls(
            connections,
            onion_key,
            rules,
            cached_buckets=cached_buckets,
            tick=tick,
            clock=clock,
            randomness=randomness or SystemRandom(),
        )

    async def store(self, entry: bytes) -> StoredBucket:
        """Keep an entry; see :meth:`BucketStore.store`."""
        if len(entry) != ENTRY_SIZE:
            raise ValueError(f"an entry has {ENTRY_SIZE} bytes, not {len(entry)}")
        self._refuse_when_closed()
        return await self._writer.store(entry)

    async def fetch(self, link: bytes) -> bytes | None:
        """Look a bucket up; see :meth:`BucketStore.fetch`."""
        self._refuse_when_closed()
        kept = self._cache.get(link)
        if kept is None:
            kept = await self._read(link) or await self._read_when_linked(link)
        if kept is None or self._has_expired(kept):
            return None
        self._usage.fetched += 1
        return kept.content

    async def totals(self) -> Totals:
        """Give the sums of all servers, and of this one also what it has not told the database yet."""
        async with self._connections.connection() as connection:
            found = await tables.totals(connection)
        on_disk = {"stored_on_disk": found["stored"], "fetched_on_disk": found["fetched"]}
        stored, fetched = self._usage.untold
        found["stored"] += stored
        found["fetched"] += fetched
        return Totals(**found, **on_disk)

    async def export(self) -> AsyncGenerator[Kept]:
        """Give what is kept; see :meth:`BucketStore.export`."""
        await self._link_all(None)
        await self._write_links()
        async for one in moves.export(self._connections):
            yield one

    async def take_in(self, kept: AsyncIterator[Kept]) -> None:
        """Take in what another store gave out; see :meth:`BucketStore.take_in`."""
        await moves.take_in(self._connections, kept)

    async def close(self) -> None:
        """Finish what was asked for and close all connections."""
        if not self._closing:
            self._closing = True
            self._writer.finish()
            self._something_to_tend.set()
            await asyncio.gather(*self._tasks)
            with contextlib.suppress(StoreError):
                async with self._connections.connection() as connection:
                    await tables.add_usage(connection, *self._usage.unsaved(self._random).rounded)
            await self._connections.close()
            self._links.close()

    def _refuse_when_closed(self) -> None:
        if self._closing:
            raise StoreError("it is closed", hint="")

    def _has_expired(self, kept: FoundBucket) -> bool:
        return kept.bucket_id.created_at + self._rules.lifetime <= self._clock.now

    # Looking a bucket up

    async def _read(self, link: bytes) -> FoundBucket | None:
        async with self._connections.connection() as connection:
            kept = await tables.read(connection, link=link, key=self._made.get(link))
        if kept is not None and not kept.is_open:
            self._cache.put(link, kept)
        return kept

    async def _read_when_linked(self, link: bytes) -> FoundBucket | None:
        """Look again when every bucket has its link, or one has this.

        A link can be asked for before it is written: the initiator looks for its bucket at once. The server that
        opened the bucket computes it, but that may be another one, and may have stopped.
        """
        return await self._read(link) if await self._link_all(link) else None

    async def _link_all(self, link: bytes | None) -> bool:
        """Wait until every bucket has its link here, or one has ``link``; tells whether one had none before."""
        async with self._connections.connection() as connection:
            unlinked = await tables.unlinked(connection, link)
        for key, bucket_id in unlinked:
            if bucket_id is not None and key not in self._made.values():
                self._links.make(key, bucket_id)
        if unlinked:
            await self._links.settled(link)
            self._refuse_when_closed()
        return bool(unlinked)

    def _link_made(self, key: int, _: BucketId, link: bytes) -> None:
        self._made[link] = key
        self._something_to_tend.set()

    # What time brings

    async def _tend_for_ever(self) -> None:
        while not self._closing:
            with contextlib.suppress(StoreError):  # it is logged, and tried again at the next tick
                await self._write_links()
                await self._tend()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._something_to_tend.wait()
            self._something_to_tend.clear()
        with contextlib.suppress(StoreError):
            await self._write_links()

    async def _write_links(self) -> None:
        for link, key in list(self._made.items()):
            async with self._connections.connection() as connection:
                await tables.set_link(connection, key, link)
            self._made.pop(link, None)

    async def _tend(self) -> None:
        async with self._connections.connection() as connection:
            now, opened, oldest = await tables.look(connection, self._clock.given)
        self._clock.heard(now)
        self._cache.drop_if(self._has_expired)
        if opened is not None and not opened <= now < opened + self._rules.window:
            await self._writer.close_what_is_overdue()
        if oldest is not None and oldest + self._rules.lifetime <= now:
            await self._erase(now - self._rules.lifetime)

    async def _erase(self, until: float) -> None:
        erased = _ERASED_AT_ONCE
        while erased == _ERASED_AT_ONCE and not self._closing:
            async with self._connections.connection() as connection:
                erased = await tables.erase(connection, until, _ERASED_AT_ONCE)
