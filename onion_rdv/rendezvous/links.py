"""Bucket links are dear to compute, by design: that happens beside everything else."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from onion_rdv.protocol import BucketId, bucket_link

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGER = logging.getLogger("onion_rdv.rendezvous")


class LinkMaker:
    """Computes links in the order asked for, in a thread of its own; tells ``made`` each in the event loop."""

    def __init__(self, onion_key: bytes, made: Callable[[int, bytes], None]) -> None:
        self._onion_key = onion_key
        self._made = made
        self._thread = ThreadPoolExecutor(1, "onion-rdv links")
        self._last: asyncio.Future[bytes] | None = None

    def make(self, key: int, bucket_id: BucketId) -> None:
        """Ask for the link of the bucket that the store knows under ``key``."""
        loop = asyncio.get_running_loop()
        self._last = loop.run_in_executor(self._thread, bucket_link, bucket_id, self._onion_key)
        self._last.add_done_callback(partial(self._done, key))

    async def settled(self) -> None:
        """Wait for all links that have been asked for up to now."""
        if self._last is not None and not self._last.done():
            await asyncio.wait([self._last])

    def close(self) -> None:
        """Give up what has not been computed."""
        self._thread.shutdown(cancel_futures=True)

    def _done(self, key: int, link: asyncio.Future[bytes]) -> None:
        if link.cancelled():
            return
        if (error := link.exception()) is not None:
            _LOGGER.error("a bucket stays without its link until the next start (%s)", type(error).__name__)
            return
        self._made(key, link.result())
