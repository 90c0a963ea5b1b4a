"""The queues that were used lately, by all their names."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from onion_rdv.smp.server.queues import Party

if TYPE_CHECKING:
    from onion_rdv.smp.server.queues import Queue


class QueueCache:
    """At most so many queues, each as it stands on the disk; the one that was not used for longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: OrderedDict[int, Queue] = OrderedDict()
        self._keys: dict[tuple[Party, bytes], int] = {}

    def get(self, party: Party, entity_id: bytes) -> Queue | None:
        """Give the queue that a party names so, if it is known."""
        key = self._keys.get((party, entity_id))
        if key is None:
            return None
        self._queues.move_to_end(key)
        return self._queues[key]

    def put(self, queue: Queue) -> None:
        """Know a queue as it is now."""
        self.drop(queue.key)
        self._queues[queue.key] = queue
        self._keys.update((name, queue.key) for name in _names(queue))
        if len(self._queues) > self._most:
            self.drop(next(iter(self._queues)))

    def clear(self) -> None:
        """Know none any more."""
        self._queues.clear()
        self._keys.clear()

    def drop(self, key: int) -> None:
        """Know a queue no longer."""
        queue = self._queues.pop(key, None)
        if queue is not None:
            for name in _names(queue):
                del self._keys[name]


def _names(queue: Queue) -> list[tuple[Party, bytes]]:
    return [(party, name) for party in Party if (name := queue.id_for(party)) is not None]
