"""Puts entries into the one bucket that all servers on a database fill: as many in a transaction as wait.

A store is a lock, a write and a commit, whether one entry waits or a hundred; while they are on their way the next
ones come together. What a server remembers of the open bucket spares it reading that, as long as nobody else placed
anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.errors import StoreError, TooManyBuckets
from onion_rdv.protocol import BucketId
from onion_rdv.rendezvous import postgres_tables as tables
from onion_rdv.rendezvous.filling import FillingBucket
from onion_rdv.rendezvous.store import StoredBucket
from onion_rdv.storage.faults import again
from onion_rdv.storage.jobs import settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from onion_rdv.rendezvous.postgres_clock import DatabaseClock
    from onion_rdv.rendezvous.postgres_connections import Connection, Connections
    from onion_rdv.rendezvous.postgres_tables import Locked
    from onion_rdv.rendezvous.rules import Rules
    from onion_rdv.rendezvous.usage import Usage


class Writer:
    """Writes for one server; :meth:`run` is a task of its own."""

    def __init__(
        self,
        connections: Connections,
        rules: Rules,
        usage: Usage,
        *,
        clock: DatabaseClock,
        randomness: Random,
        opened: Callable[[int, BucketId], None],
    ) -> None:
        """Prepare; ``opened`` is told of each new bucket, with its key, once it has reached the disk."""
        self._connections = connections
        self._rules = rules
        self._usage = usage
        self._clock = clock
        self._random = randomness
        self._opened = opened
        self._waiting: list[tuple[bytes, asyncio.Future[StoredBucket]]] = []
        self._more = asyncio.Event()
        self._ending = False
        self._lock = asyncio.Lock()  # one transaction at a time in this process, too
        self._filling: FillingBucket | None = None  # the open bucket as this server left it
        self._mark = 0  # that it left there
        self._last_count, self._last_duration = 0, 0.0  # of the last transaction: entries, and seconds that it took

    async def store(self, entry: bytes) -> StoredBucket:
        """Wait until an entry has reached the disk."""
        stored: asyncio.Future[StoredBucket] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, stored))
        self._more.set()
        return await stored

    def finish(self) -> None:
        """Let :meth:`run` end when nothing waits any more; nothing may be stored from now on."""
        self._ending = True
        self._more.set()

    async def run(self) -> None:
        """Write what waits, again and again, until it is finished."""
        loop = asyncio.get_running_loop()
        while self._waiting or not self._ending:
            await self._come_together()
            waiting, self._waiting = self._waiting, []
            if not waiting:
                continue
            start = loop.time()
            results = await self._write([entry for entry, _ in waiting])
            self._last_count, self._last_duration = len(waiting), loop.time() - start
            for (_, stored), result in zip(waiting, results, strict=True):
                settle(stored, result)

    async def close_what_is_overdue(self) -> None:
        """Close the open bucket if its window is over; raises :class:`~onion_rdv.errors.StoreError`."""
        await self._commit([])

    async def _come_together(self) -> None:
        """Wait for an entry, and then for as many as the last time, for at most half the time that took.

        Who has just been answered and asks again comes a moment after this; see ``storage/jobs.py``.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while not self._ending and len(self._waiting) < max(1, self._last_count):
            self._more.clear()
            if not self._waiting:
                await self._more.wait()
                deadline = loop.time() + self._last_duration / 2
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    await self._more.wait()
            except TimeoutError:
                return

    async def _write(self, entries: list[bytes]) -> list[StoredBucket | StoreError]:
        try:
            return await self._commit(entries)
        except StoreError as error:
            return [again(error) for _ in entries]

    async def _commit(self, entries: list[bytes]) -> list[StoredBucket | StoreError]:
        new: list[FillingBucket] = []
        async with self._lock:
            known, self._filling = self._filling, None  # forgotten if anything fails
            async with self._connections.transaction() as connection:
                locked = await tables.lock(connection, self._clock.given)
                self._clock.heard(locked.now)
                filling = await self._resume(connection, locked, known)
                if filling is not None and not filling.is_current(locked.now, self._rules.window):
                    await self._close(connection, filling)
                    filling = None
                results, filling = await self._place(connection, entries, filling, int(locked.now), new)
            self._filling = filling
        self._usage.stored += sum(isinstance(result, StoredBucket) for result in results)
        self._usage.opened += len(new)
        for bucket in new:
            self._opened(bucket.key, bucket.bucket_id)
        return results

    async def _resume(
        self, connection: Connection, locked: Locked, known: FillingBucket | None
    ) -> FillingBucket | None:
        if locked.key is None:
            return None
        if known is not None and (known.key, self._mark) == (locked.key, locked.mark):
            return known
        kept = await tables.read(connection, key=locked.key)
        if kept is None:
            raise tables.damaged()
        self._mark = locked.mark
        return FillingBucket(kept.key, kept.bucket_id, kept.content, locked.taken, self._random)

    async def _place(
        self,
        connection: Connection,
        entries: list[bytes],
        filling: FillingBucket | None,
        now: int,
        new: list[FillingBucket],
    ) -> tuple[list[StoredBucket | StoreError], FillingBucket | None]:
        """Put entries into the open bucket and into new ones; gives where they are, and the bucket that is open then.

        Those that need more buckets than may be opened are refused.
        """
        results: list[StoredBucket | StoreError] = []
        while len(results) < len(entries):
            is_new = filling is None
            if filling is None:
                try:
                    number = await tables.next_number(connection, now, self._rules.ceiling)
                except TooManyBuckets as error:
                    self._connections.complaints.tell(error)
                    return [*results, *(again(error) for _ in entries[len(results) :])], None
                filling = FillingBucket.new(0, BucketId(now, number), self._random)
            here = entries[len(results) : len(results) + filling.room]
            mark = self._mark = self._random.getrandbits(63)
            placed = {filling.put(entry): entry for entry in here}
            if is_new:
                filling.key = await tables.add(connection, filling, mark)
                new.append(filling)
            elif filling.room:
                await tables.put(connection, filling, placed, mark)
            else:
                await self._close(connection, filling)
            results += [StoredBucket(filling.bucket_id, filling.content())] * len(here)
            if not filling.room:
                filling = None
        return results, filling

    async def _close(self, connection: Connection, filling: FillingBucket) -> None:
        await tables.close(connection, filling)
        await tables.add_usage(connection, *self._usage.take_unsaved(self._random))
