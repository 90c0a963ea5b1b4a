"""Bucket links are dear to compute, by design: that happens beside everything else."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from onion_rdv.protocol import BucketId, bucket_link

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_REST = 9.0
"""Rest after a link, as a multiple of the time that it took, when nobody waits for the next one.

A flood of stores then takes a tenth of one core for links and leaves the rest to itself: while a link is computed on
one of two cores, stores come at a third of their rate, since whoever is woken up there has to wait for a turn. That
is still some five links a second, where one bucket a second is opened at most with the usual settings.
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Somebody who waits for ``link``, or else until everything up to number ``last`` is there."""

    link: bytes | None
    last: int
    over: asyncio.Future[None]


class LinkMaker:
    """Computes links in a thread of its own, and tells ``made`` each in the event loop.

    The newest bucket comes first: who has just stored in it asks for it next, to look whether the entry is there, and
    is not to wait for what a flood has left behind.
    """

    def __init__(self, onion_key: bytes, made: Callable[[int, BucketId, bytes], None]) -> None:
        self._onion_key = onion_key
        self._made = made
        self._thread = ThreadPoolExecutor(1, "onion-rdv links")
        self._numbers = count()
        self._asked: dict[BucketId, int] = {}  # what has not been told yet, numbered and in the order asked for
        self._to_do: list[tuple[int, BucketId]] = []  # what has not been begun, in that order
        self._waiters: set[_Waiter] = set()
        self._somebody_waits = threading.Event()
        self._rest_until = 0.0  # of the monotonic clock; the thread's own

    def make(self, key: int, bucket_id: BucketId) -> None:
        """Ask for the link of the bucket that the store knows under ``key``, unless it is asked for already."""
        if bucket_id in self._asked:
            return
        self._asked[bucket_id] = next(self._numbers)
        self._to_do.append((key, bucket_id))
        made = asyncio.get_running_loop().run_in_executor(self._thread, self._make_next)
        made.add_done_callback(self._tell)

    @property
    def some_are_to_come(self) -> bool:
        """Whether links that have been asked for have not been told yet."""
        return bool(self._asked)

    async def settled(self, link: bytes | None = None) -> None:
        """Wait for all links that have been asked for up to now, or until ``link`` is made, if it is among them."""
        if not self._asked:
            return
        over = asyncio.get_running_loop().create_future()
        waiter = _Waiter(link, next(reversed(self._asked.values())), over)
        self._waiters.add(waiter)
        self._somebody_waits.set()
        try:
            await over
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._somebody_waits.clear()

    def close(self) -> None:
        """Give up what has not been computed."""
        self._somebody_waits.set()
        self._thread.shutdown(cancel_futures=True)

    def _make_next(self) -> tuple[int, BucketId, bytes | None]:
        self._somebody_waits.wait(max(0.0, self._rest_until - time.monotonic()))
        key, bucket_id = self._to_do.pop()
        start = time.monotonic()
        try:
            link = bucket_link(bucket_id, self._onion_key)
        except Exception as error:  # noqa: BLE001  # whoever waits for it must not wait for ever
            # Nothing of the bucket is said.
            _LOGGER.error("a bucket stays without its link until the next start (%s)", type(error).__name__)  # noqa: TRY400
            link = None
        end = time.monotonic()
        self._rest_until = end + _REST * (end - start)
        return key, bucket_id, link

    def _tell(self, made: asyncio.Future[tuple[int, BucketId, bytes | None]]) -> None:
        if made.cancelled():
            self._asked.clear()
            self._release(None)
            return
        key, bucket_id, link = made.result()
        self._asked.pop(bucket_id, None)  # it is not there where the others were given up meanwhile
        if link is not None:
            self._made(key, bucket_id, link)
        self._release(link)

    def _release(self, link: bytes | None) -> None:
        """Let those go on who wait for this link, or for nothing that is still to come."""
        oldest = next(iter(self._asked.values()), None)
        for waiter in self._waiters:
            if not waiter.over.done() and (
                oldest is None or waiter.last < oldest or (link is not None and waiter.link == link)
            ):
                waiter.over.set_result(None)
