"""The buckets that were asked for most recently, in memory."""

from __future__ import annotations

from collections import OrderedDict


class BucketCache:
    """At most ``size`` buckets by their links, the least recently used being dropped; for one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._buckets: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, link: bytes) -> bytes | None:
        """Give a bucket, the very object that was put in."""
        bucket = self._buckets.get(link)
        if bucket is not None:
            self._buckets.move_to_end(link)
        return bucket

    def put(self, link: bytes, bucket: bytes) -> None:
        """Keep a bucket, or its newest state."""
        self._buckets[link] = bucket
        self._buckets.move_to_end(link)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)

    def drop(self, link: bytes) -> None:
        """Forget a bucket, if it is there."""
        self._buckets.pop(link, None)
