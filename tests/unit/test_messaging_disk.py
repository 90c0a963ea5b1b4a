"""A messaging server's disk: how much is written to it, and what is in memory when it fails for a moment."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from random import Random

from power import Disk
from queues import FILE, a_key, make_queue, new_queue, open_queues, some_data
from sqlite_vfs import guarded

from onion_rdv.errors import StoreError
from onion_rdv.smp.server.queues import QUOTA, Message, Party, Sent
from onion_rdv.smp.wire.commands import MAX_BODY_SIZE

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


async def test_full_queues_and_links_take_as_much_as_is_said(tmp_path: Path) -> None:
    texts = [
        (Path(__file__).parents[2] / "docs" / name).read_text() for name in ("messaging-server.md", "attacks.md")
    ]
    said = re.search(r"A full queue takes some ([\d.]+) MB on the disk, and a link (\d+) kB", texts[0])
    assert said is not None
    of_a_queue, of_a_link = float(said[1]) * 1e6, float(said[2]) * 1e3
    assert f"{said[1]} MB for each queue when it is full, {said[2]} kB for each link" in texts[1]

    async def size() -> int:
        store = await open_queues(tmp_path)
        await store.close()
        return (tmp_path / FILE).stat().st_size

    empty = await size()
    store = await open_queues(tmp_path)
    queue = await make_queue(store)
    sent = Sent.KEPT
    while sent is not Sent.FULL:
        message = Message(secrets.token_bytes(24), int(time.time()), secrets.token_bytes(MAX_BODY_SIZE))
        sent = await store.send(queue, message)
    assert (await store.contents(queue)).size == QUOTA + 1
    await store.close()
    full = await size()
    assert 0.9 * of_a_queue < full - empty < 1.1 * of_a_queue
    store = await open_queues(tmp_path)
    for _ in range(20):
        await make_queue(store, link=some_data())
    await store.close()
    assert 0.8 * of_a_link < (await size() - full) / 20 < 1.1 * of_a_link
