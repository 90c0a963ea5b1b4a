"""The store of a messaging server: one SQLite file, on one machine, for one process.

The event loop knows the queues that were used lately; a thread works on the file (``queue_thread.py``). What a method
has answered survives a crash of the process and of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self, TypeVar

from onion_rdv.errors import StoreError
from onion_rdv.smp.server.limits import DEFAULT_LIFETIME
from onion_rdv.smp.server.queue_cache import QueueCache
from onion_rdv.smp.server.queue_thread import Done, FileThread, Job
from onion_rdv.storage.jobs import settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onion_rdv.smp.server.queue_file import QueueFile
    from onion_rdv.smp.server.queues import Contents, Message, NewQueue, Party, Queue, Sent
    from onion_rdv.smp.wire.commands import LinkData
    from onion_rdv.smp.wire.keys import PublicKey

_T = TypeVar("_T")

_KNOWN_QUEUES = 16_384
"""Queues known without looking into the file: some 16 MiB."""

_TICK = 60.0
"""Seconds between two looks at the clock, and so how late a message may be erased."""


class QueueStore:
    """Queues and messages in one file; made with :meth:`open`.

    All methods may be called by many tasks at once, and take effect in the order in which they are called. They raise
    :class:`~onion_rdv.errors.StoreError` when the file cannot be used; then nothing happened, or, where a disk failed
    at the last moment, all of it.
    """

    def __init__(self) -> None:
        self._cache = QueueCache(_KNOWN_QUEUES)
        self._waiting: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self._thread: FileThread

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        lifetime: float = DEFAULT_LIFETIME,
        tick: float = _TICK,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open the store in the file at ``path``, which is made if it is not there.

        ``lifetime`` is the seconds that a message waits at most. Raises :class:`~onion_rdv.errors.StoreError` when
        the file cannot be used: another server has it open, a newer version wrote it, it is damaged or cannot be
        written.
        """
        store = cls()
        store._thread = FileThread(path, lifetime, tick, clock=clock, report=store._report)
        store._thread.start()
        try:
            await store._started
        except StoreError:
            store._thread.join()
            raise
        return store

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._thread.put([])
            await self._ended
            self._thread.join()

    # Queues

    async def find(self, party: Party, entity_id: bytes) -> Queue | None:
        """Give the queue that a party names so."""
        return self._cache.get(party, entity_id) or await self.look_up(party, entity_id)

    async def look_up(self, party: Party, entity_id: bytes) -> Queue | None:
        """Do the same, always with the file: this takes equally long whether there is one or not."""
        return await self._ask(lambda file: file.find(party, entity_id), learn=self._learn)

    async def create(self, new: NewQueue) -> Queue | None:
        """Make a queue; None where one of its ids is taken."""
        return await self._ask(lambda file: file.create(new), writes=True, learn=self._learn)

    async def secure(self, queue: Queue, sender_key: PublicKey) -> Queue | None:
        """Let only the owner of a key send to a queue; None where it is another's already."""
        return await self._ask(lambda file: file.secure(queue.key, sender_key), writes=True, learn=self._learn)

    async def change_recipient(self, queue: Queue, keys: tuple[PublicKey, ...]) -> Queue | None:
        """Change who may receive from a queue."""
        return await self._ask(lambda file: file.change_recipient(queue.key, keys), writes=True, learn=self._learn)

    async def suspend(self, queue: Queue) -> Queue | None:
        """Let nobody send to a queue any more."""
        return await self._ask(lambda file: file.suspend(queue.key), writes=True, learn=self._learn)

    async def delete(self, queue: Queue) -> bool:
        """Delete a queue with everything in it; tells whether it was there."""

        def learn(_deleted: bool) -> None:
            self._cache.drop(queue.key)

        return await self._ask(lambda file: file.delete(queue.key), writes=True, learn=learn)

    async def count(self) -> int:
        """Count the queues."""
        return await self._ask(lambda file: file.count())

    # Links

    async def link(self, queue: Queue) -> LinkData | None:
        """Give what a queue's link leads to."""
        return await self._ask(lambda file: file.link(queue.key))

    async def set_link(self, queue: Queue, link_id: bytes, data: LinkData) -> Queue | None:
        """Set what a queue's link leads to; None, and nothing changes, where it leads elsewhere or is another's."""
        return await self._ask(lambda file: file.set_link(queue.key, link_id, data), writes=True, learn=self._learn)

    async def delete_link(self, queue: Queue) -> Queue | None:
        """Delete a queue's link."""
        return await self._ask(lambda file: file.delete_link(queue.key), writes=True, learn=self._learn)

    # Messages

    async def send(self, queue: Queue, message: Message) -> Sent:
        """Let a message wait in a queue."""
        return await self._ask(lambda file: file.send(queue.key, message), writes=True)

    async def first(self, queue: Queue) -> Message | None:
        """Give the first message that waits in a queue."""
        return await self._ask(lambda file: file.first(queue.key))

    async def acknowledge(self, queue: Queue, message_id: bytes) -> Message | None:
        """Erase the first message that waits in a queue, if it is this one; gives the first that is left."""

        def work(file: QueueFile) -> Message | None:
            file.acknowledge(queue.key, message_id)
            return file.first(queue.key)

        return await self._ask(work, writes=True)

    async def contents(self, queue: Queue) -> Contents:
        """Look what waits in a queue."""
        return await self._ask(lambda file: file.contents(queue.key))

    # The thread

    async def _ask(
        self,
        work: Callable[[QueueFile], _T],
        *,
        writes: bool = False,
        learn: Callable[[_T], None] | None = None,
    ) -> _T:
        if self._closing:
            raise StoreError("it is closed", hint="")
        if not self._waiting:
            # Whoever else asks in this turn of the event loop goes into the same transaction.
            self._loop.call_soon(self._hand_over)
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._waiting.append(Job(work, writes, answer, learn))
        return await answer

    def _hand_over(self) -> None:
        if self._waiting:
            self._thread.put(self._waiting)
            self._waiting = []

    def _learn(self, queue: Queue | None) -> None:
        # The cache changes here and nowhere later, in the order in which the file did: so it is never behind it.
        if queue is not None:
            self._cache.put(queue)

    def _report(self, news: Done | StoreError | None) -> None:
        """Take what the thread has to say over into the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(self._hear, news)

    def _hear(self, news: Done | StoreError | None) -> None:
        if isinstance(news, list):
            if any(isinstance(result, StoreError) for _, result in news):
                self._cache.clear()  # what failed may have reached the disk all the same
            for job, result in news:
                if job.learn is not None and not isinstance(result, StoreError):
                    job.learn(result)
                settle(job.answer, result)
        else:
            settle(self._ended if self._started.done() else self._started, news)
