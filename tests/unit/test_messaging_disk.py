"""A messaging server's disk that fails for a moment: what is in memory is what is in the file then."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from power import Disk
from queues import a_key, new_queue, open_queues
from sqlite_vfs import guarded

from onion_rdv.errors import StoreError
from onion_rdv.smp.server.queues import Party

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = 16
"""More than a change of a queue writes."""


async def test_a_change_that_failed_is_wholly_there_or_not_at_all(tmp_path: Path) -> None:
    disk, failed, happened = Disk(), 0, 0
    disk.use(tmp_path)
    with guarded(disk):
        store = await open_queues(tmp_path, lifetime=1e9)
        for moment in range(OPERATIONS):
            for change in (lambda queue: store.secure(queue, a_key()), store.suspend, store.delete):
                queue = await store.create(new_queue())
                assert queue is not None
                disk.fail_after(moment, 4, Random(moment))
                try:
                    await change(queue)
                except StoreError:
                    failed += 1
                disk.be_well()
                known = await store.find(Party.RECIPIENT, queue.recipient_id)
                assert known == await store.look_up(Party.RECIPIENT, queue.recipient_id)
                happened += known != queue
        await store.close()
    assert failed > 0
    assert happened > 3 * OPERATIONS - failed, "some took place though they had failed"
