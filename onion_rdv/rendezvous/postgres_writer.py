"""Puts entries into the one bucket that all servers on a database fill: as many in a transaction as wait.

A store is a lock, a write and a commit, whether one entry waits or a hundred; while they are on their way the next
ones come together. What a server remembers of the open bucket spares it reading that, as long as nobody else placed
anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from onion_rdv.errors import StoreError, TooManyBuckets
from onion_rdv.protocol import BucketId
from onion_rdv.rendezvous import postgres_tables as tables
from onion_rdv.rendezvous.filling import FillingBucket
from onion_rdv.rendezvous.store import StoredBucket
from onion_rdv.storage.faults import again
from onion_rdv.storage.jobs import LONGEST_WAIT, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from onion_rdv.rendezvous.postgres_clock import DatabaseClock
    from onion_rdv.rendezvous.postgres_connections import Connection, Connections
    from onion_rdv.rendezvous.postgres_tables import Locked
    from onion_rdv.rendezvous.rules import Rules
    from onion_rdv.rendezvous.usage import Unsaved, Usage


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
        self._known: tuple[int, FillingBucket | None] = (
            0,
            None,
        )  # the open bucket as it was left, and its mark
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
        """Wait for an entry, and then for as many as the last time, for at most half the time that this took.

        Who has just been answered and asks again comes a moment after this; see ``storage/jobs.py``.
        """
        await self._wait_for(1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._last_duration / 2, LONGEST_WAIT)):
                await self._wait_for(self._last_count)

    async def _wait_for(self, count: int) -> None:
        while len(self._waiting) < count and not self._ending:
            self._more.clear()
            await self._more.wait()

    async def _write(self, entries: list[bytes]) -> list[StoredBucket | StoreError]:
        try:
            return await self._commit(entries)
        except StoreError as error:
            return [again(error) for _ in entries]

    async def _commit(self, entries: list[bytes]) -> list[StoredBucket | StoreError]:
        async with self._lock:
            known, self._known = self._known, (0, None)  # forgotten if anything fails
            async with self._connections.transaction() as connection:
                locked = await tables.lock(connection, self._clock.given)
                self._clock.heard(locked.now)
                turn = _Turn(connection, locked, self._rules, self._usage, self._random)
                await turn.resume(known)
                results = await turn.place(entries)
            self._known = turn.mark, turn.filling
        if turn.unsaved is not None:
            self._usage.saved(turn.unsaved)
        if turn.refusal is not None:
            self._connections.complaints.tell(turn.refusal)
        self._usage.stored += sum(isinstance(result, StoredBucket) for result in results)
        for bucket in turn.opened:
            self._opened(bucket.key, bucket.bucket_id)
        return results


class _Turn:
    """What a server does while it has the lock, in one transaction.

    ``filling`` is the bucket that is open and ``mark`` the one it has; ``opened`` are the buckets that were opened in
    this turn, and ``refusal`` says why no more of them were. ``unsaved`` is what was added to the totals.
    """

    def __init__(
        self, connection: Connection, locked: Locked, rules: Rules, usage: Usage, randomness: Random
    ) -> None:
        self._connection = connection
        self._locked = locked
        self._rules = rules
        self._usage = usage
        self._random = randomness
        self.mark = locked.mark
        self.filling: FillingBucket | None = None
        self.opened: list[FillingBucket] = []
        self.refusal: TooManyBuckets | None = None
        self.unsaved: Unsaved | None = None

    async def resume(self, known: tuple[int, FillingBucket | None]) -> None:
        """Go on with the open bucket if it may take entries, and close it if not; ``known`` spares reading it."""
        locked = self._locked
        if locked.key is None:
            return
        mark, filling = known
        if filling is None or (mark, filling.key) != (locked.mark, locked.key):
            found = await tables.read(self._connection, key=locked.key)
            if found is None:
                raise tables.damaged()
            filling = FillingBucket(found.key, found.bucket_id, found.content, locked.taken, self._random)
        self.filling = filling
        if not filling.is_current(locked.now, self._rules.window):
            await self._close(filling)

    async def place(self, entries: list[bytes]) -> list[StoredBucket | StoreError]:
        """Put entries into the open bucket and into new ones; gives where each is now, or why it is not."""
        results: list[StoredBucket | StoreError] = []
        while len(results) < len(entries):
            rest = entries[len(results) :]
            try:
                filling = self.filling or await self._next()
            except TooManyBuckets as error:
                self.refusal = error
                return [*results, *(again(error) for _ in rest)]
            here = rest[: filling.room]
            placed = {filling.put(entry): entry for entry in here}
            await self._write(filling, placed)
            results += [StoredBucket(filling.bucket_id, filling.content())] * len(here)
        return results

    async def _next(self) -> FillingBucket:
        now = int(self._locked.now)
        number = await tables.next_number(self._connection, now, self._rules.ceiling)
        return FillingBucket.new(0, BucketId(now, number), self._random)

    async def _write(self, filling: FillingBucket, placed: dict[int, bytes]) -> None:
        self.mark = self._random.getrandbits(63)
        if filling is not self.filling:
            filling.key = await tables.add(self._connection, filling, self.mark)
            self.opened.append(filling)
            self.filling = filling if filling.room else None
        elif filling.room:
            await tables.put(self._connection, filling, placed, self.mark)
        else:
            await self._close(filling)

    async def _close(self, filling: FillingBucket) -> None:
        await tables.close(self._connection, filling)
        if self.unsaved is None:  # once in a transaction, however many buckets close
            self.unsaved = self._usage.unsaved(self._random)
            await tables.add_usage(self._connection, *self.unsaved.rounded)
        self.filling = None
