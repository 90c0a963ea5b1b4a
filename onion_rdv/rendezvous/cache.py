"""The buckets that were asked for most recently, in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Bucket = TypeVar("_Bucket")

DEFAULT_CACHED_BUCKETS = 64
"""Buckets kept in memory: 1 MiB. Those that are open, or have just closed, are what most ask for."""


class BucketCache(Generic[_Bucket]):
    """At most ``size`` buckets by their links, the least recently used being dropped; for one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._buckets: OrderedDict[bytes, _Bucket] = OrderedDict()

    def get(self, link: bytes) -> _Bucket | None:
        """Give a bucket, the very object that was put in."""
        bucket = self._buckets.get(link)
        if bucket is not None:
            self._buckets.move_to_end(link)
        return bucket

    def put(self, link: bytes, bucket: _Bucket) -> None:
        """Keep a bucket, or its newest state."""
        self._buckets[link] = bucket
        self._buckets.move_to_end(link)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)

    def drop(self, link: bytes) -> None:
        """Forget a bucket, if it is there."""
        self._buckets.pop(link, None)

    def clear(self) -> None:
        """Forget them all."""
        self._buckets.clear()

    def drop_if(self, has_expired: Callable[[_Bucket], bool]) -> None:
        """Forget some buckets."""
        for link in [link for link, bucket in self._buckets.items() if has_expired(bucket)]:
            del self._buckets[link]
