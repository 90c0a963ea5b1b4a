"""Bucket links are dear to compute, by design: that happens beside everything else."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from onion_rdv.protocol import BucketId, bucket_link

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_REST = 2.0
"""Rest after a link, as a multiple of the time that it took, when nobody waits for the next one.

A flood of stores then takes a third of one core for links and leaves the rest to itself. That is still some fifteen
links a second, and more buckets than that in one second have numbers that clients refuse.
"""


class LinkMaker:
    """Computes links in the order asked for, in a thread of its own; tells ``made`` each in the event loop."""

    def __init__(self, onion_key: bytes, made: Callable[[int, BucketId, bytes], None]) -> None:
        self._onion_key = onion_key
        self._made = made
        self._thread = ThreadPoolExecutor(1, "onion-rdv links")
        self._asked: set[BucketId] = set()  # what has not been told yet
        self._last: asyncio.Future[None] | None = None  # done when the one asked for last has been told
        self._waiting = 0
        self._somebody_waits = threading.Event()
        self._rest_until = 0.0  # of the monotonic clock; the thread's own

    def make(self, key: int, bucket_id: BucketId) -> None:
        """Ask for the link of the bucket that the store knows under ``key``, unless it is asked for already."""
        if bucket_id in self._asked:
            return
        self._asked.add(bucket_id)
        loop = asyncio.get_running_loop()
        told = self._last = loop.create_future()
        link = loop.run_in_executor(self._thread, self._compute, bucket_id)
        link.add_done_callback(partial(self._done, key, bucket_id, told))

    async def settled(self) -> None:
        """Wait for all links that have been asked for up to now."""
        if self._last is None or self._last.done():
            return
        self._waiting += 1
        self._somebody_waits.set()
        try:
            await asyncio.wait([self._last])
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._somebody_waits.clear()

    def close(self) -> None:
        """Give up what has not been computed."""
        self._somebody_waits.set()
        self._thread.shutdown(cancel_futures=True)

    def _compute(self, bucket_id: BucketId) -> bytes:
        self._somebody_waits.wait(max(0.0, self._rest_until - time.monotonic()))
        start = time.monotonic()
        link = bucket_link(bucket_id, self._onion_key)
        end = time.monotonic()
        self._rest_until = end + _REST * (end - start)
        return link

    def _done(self, key: int, bucket_id: BucketId, told: asyncio.Future[None], link: asyncio.Future[bytes]) -> None:
        self._asked.discard(bucket_id)
        told.set_result(None)
        if link.cancelled():
            return
        if (error := link.exception()) is not None:
            _LOGGER.error("a bucket stays without its link until the next start (%s)", type(error).__name__)
            return
        self._made(key, bucket_id, link.result())
