"""The store of queues: what it keeps and what it forgets, and the file that it does that in."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from queues import FILE, TICK, a_key, a_message, make_queue, new_queue, open_queues, some_data
from stores import Clock, until

from onion_rdv.errors import StoreError
from onion_rdv.smp.server.queue_cache import QueueCache
from onion_rdv.smp.server.queues import QUOTA, Contents, NewQueue, Party, Sent
from onion_rdv.smp.wire.commands import LinkData, Mode
from onion_rdv.storage import file as storage_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.smp.server.queue_store import QueueStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[QueueStore]:
    opened = await open_queues(tmp_path)
    yield opened
    await opened.close()


def everything_in(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(directory.iterdir()))


def log_is_empty(directory: Path) -> bool:
    return (directory / f"{FILE}-wal").stat().st_size == 0


async def reopened(store: QueueStore, directory: Path) -> QueueStore:
    await store.close()
    return await open_queues(directory)


# Queues


async def test_a_queue_is_found_by_all_its_names(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    queue = await make_queue(store, link=some_data())
    assert queue.link_id is not None
    named = {Party.RECIPIENT: queue.recipient_id, Party.SENDER: queue.sender_id, Party.LINK: queue.link_id}
    for _ in range(2):
        for party in Party:
            for whose, name in named.items():
                assert await store.find(party, name) == (queue if party is whose else None)
                assert await store.look_up(party, name) == (queue if party is whose else None)
        store = await reopened(store, tmp_path)
    assert await store.count() == 1
    await store.close()


@pytest.mark.parametrize("taken", ["recipient_id", "sender_id", "link_id"])
async def test_an_id_that_is_taken_makes_no_queue(store: QueueStore, taken: str) -> None:
    queue = await make_queue(store, link=some_data())
    new = new_queue(link=some_data())
    assert await store.create(NewQueue(replace(new.queue, **{taken: getattr(queue, taken)}), new.link)) is None
    assert await store.count() == 1
    assert await store.find(Party.RECIPIENT, queue.recipient_id) == queue
    assert await store.create(new) is not None


async def test_a_queue_is_secured_once(store: QueueStore) -> None:
    queue, key = await make_queue(store), a_key()
    secured = await store.secure(queue, key)
    assert secured == replace(queue, sender_key=key)
    assert await store.secure(queue, key) == secured
    assert await store.secure(queue, a_key()) is None
    assert await store.find(Party.SENDER, queue.sender_id) == secured


async def test_recipients_change(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    queue, keys = await make_queue(store, mode=Mode.CONTACT), (a_key(), a_key())
    assert await store.change_recipient(queue, keys) == replace(queue, recipient_keys=keys)
    store = await reopened(store, tmp_path)
    assert await store.find(Party.RECIPIENT, queue.recipient_id) == replace(queue, recipient_keys=keys)
    await store.close()


async def test_what_is_deleted_is_gone(store: QueueStore) -> None:
    queue = await make_queue(store, link=some_data())
    await store.send(queue, a_message())
    assert await store.delete(queue)
    assert queue.link_id is not None
    assert await store.find(Party.RECIPIENT, queue.recipient_id) is None
    assert await store.find(Party.SENDER, queue.sender_id) is None
    assert await store.find(Party.LINK, queue.link_id) is None
    assert await store.first(queue) is None
    assert await store.link(queue) is None
    # Whoever looked it up before that gets nothing done with it.
    assert not await store.delete(queue)
    assert await store.send(queue, a_message()) is Sent.REFUSED
    assert await store.secure(queue, a_key()) is None
    assert await store.suspend(queue) is None
    assert await store.change_recipient(queue, (a_key(),)) is None
    assert await store.set_link(queue, queue.link_id, some_data()) is None
    assert await store.delete_link(queue) is None
    assert await store.contents(queue) == Contents(0, None)
    assert await store.count() == 0


async def test_many_queues_are_more_than_are_known_at_once() -> None:
    cache, queues = QueueCache(2), [replace(new_queue().queue, key=number + 1) for number in range(3)]
    for queue in queues[:2]:
        cache.put(queue)
    assert cache.get(Party.SENDER, queues[0].sender_id) == queues[0]
    cache.put(queues[2])
    found = [cache.get(Party.RECIPIENT, queue.recipient_id) for queue in queues]
    assert found == [queues[0], None, queues[2]]


# Links


async def test_a_links_fixed_part_stays(store: QueueStore) -> None:
    data = some_data()
    queue = await make_queue(store, link=data)
    assert queue.link_id is not None
    changed = LinkData(data.fixed, b"something else")
    assert await store.link(queue) == data
    assert await store.set_link(queue, queue.link_id, changed) == queue
    assert await store.set_link(queue, queue.link_id, some_data()) is None
    assert await store.set_link(queue, bytes(24), changed) is None
    assert await store.link(queue) == changed
    without = await store.delete_link(queue)
    assert without == replace(queue, link_id=None)
    assert await store.link(queue) is None
    other = bytes([7]) * 24
    assert await store.set_link(queue, other, data) == replace(queue, link_id=other)
    assert await store.find(Party.LINK, other) == replace(queue, link_id=other)
    assert await store.find(Party.LINK, queue.link_id) is None


async def test_a_link_cannot_take_anothers_name(store: QueueStore) -> None:
    one, other = await make_queue(store, link=some_data()), await make_queue(store)
    assert one.link_id is not None
    assert await store.set_link(other, one.link_id, some_data()) is None
    assert await store.find(Party.LINK, one.link_id) == one
    assert await store.link(other) is None


# Messages


async def test_messages_come_in_their_order_and_leave_one_by_one(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    queue, other = await make_queue(store), await make_queue(store)
    messages = [a_message() for _ in range(5)]
    sent = await asyncio.gather(*(store.send(queue, message) for message in messages))
    assert sent == [Sent.KEPT_FIRST, *[Sent.KEPT] * 4]
    elsewhere = a_message()
    assert await store.send(other, elsewhere) is Sent.KEPT_FIRST
    for left in range(len(messages), 0, -1):
        assert await store.contents(queue) == Contents(left, messages[-left])
        following = messages[-left + 1] if left > 1 else None
        assert await store.acknowledge(queue, elsewhere.message_id) == messages[-left]
        assert await store.acknowledge(queue, messages[-left].message_id) == following
        store = await reopened(store, tmp_path)
        assert await store.first(queue) == following
    assert await store.first(other) == elsewhere
    await store.close()


async def test_a_full_queue_takes_nothing_until_it_is_empty(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    queue = await make_queue(store)
    sent = await asyncio.gather(*(store.send(queue, a_message()) for _ in range(QUOTA + 3)))
    assert sent.count(Sent.FULL) == 3
    assert (await store.contents(queue)).size == QUOTA + 1  # one mark, however often it was tried
    store = await reopened(store, tmp_path)
    message = await store.first(queue)
    for _ in range(QUOTA):
        assert message is not None
        assert message.body is not None
        message = await store.acknowledge(queue, message.message_id)
        assert await store.send(queue, a_message()) is Sent.FULL
    assert message is not None
    assert message.body is None
    assert await store.acknowledge(queue, message.message_id) is None
    assert await store.send(queue, a_message()) is Sent.KEPT_FIRST
    assert await store.send(queue, a_message()) is Sent.KEPT
    await store.close()


async def test_nobody_sends_to_a_suspended_queue(store: QueueStore) -> None:
    queue = await make_queue(store)
    await store.send(queue, message := a_message())
    assert await store.suspend(queue) == replace(queue, is_off=True)
    assert await store.send(queue, a_message()) is Sent.REFUSED
    assert await store.first(queue) == message


async def test_messages_expire_and_leave_nothing(tmp_path: Path) -> None:
    clock = Clock()
    store = await open_queues(tmp_path, clock=clock, lifetime=1000)
    queue = await make_queue(store)
    old = [a_message(int(clock.now)) for _ in range(100)]
    await asyncio.gather(*(store.send(queue, message) for message in old))
    clock.now += 999
    await store.send(queue, kept := a_message(int(clock.now)))
    assert await store.first(queue) == old[0]
    clock.now += 1
    while (await store.contents(queue)).size > 1:
        await asyncio.sleep(TICK)
    await until(lambda: log_is_empty(tmp_path))
    data = everything_in(tmp_path)
    for message in old:
        assert message.body is not None
        assert message.body[:64] not in data
        assert message.body[-64:] not in data
        assert message.message_id not in data
    assert kept.message_id in data
    await store.close()


# What is forgotten


async def test_what_was_acknowledged_or_deleted_is_nowhere_in_the_files(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    link = some_data()
    queue, other = await make_queue(store, link=link), await make_queue(store)
    arrived, deleted = a_message(), a_message()
    await store.send(other, arrived)
    await store.send(queue, deleted)
    await store.acknowledge(other, arrived.message_id)
    await store.delete(queue)
    await until(lambda: log_is_empty(tmp_path))
    data = everything_in(tmp_path)
    assert arrived.body is not None
    assert deleted.body is not None
    for part in (arrived.body, deleted.body, link.user, link.fixed):
        assert not any(part[start : start + 32] in data for start in range(0, len(part) - 32, 32))
    for name in (queue.recipient_id, queue.sender_id, queue.box_key, queue.link_id, arrived.message_id):
        assert name is not None
        assert name not in data
    assert other.recipient_id in data
    await store.close()


async def test_the_log_forgets_within_a_second_though_messages_keep_coming(tmp_path: Path) -> None:
    store = await open_queues(tmp_path, tick=60)
    queue = await make_queue(store)
    async with asyncio.timeout(20):
        while True:
            await store.send(queue, message := a_message())
            await store.acknowledge(queue, message.message_id)
            assert message.body is not None
            if message.body[:64] in everything_in(tmp_path):  # otherwise the second is over already
                break
    async with asyncio.timeout(20):
        while message.body[:64] in everything_in(tmp_path):
            await store.send(queue, following := a_message())
            await store.acknowledge(queue, following.message_id)
    await store.close()


async def test_disk_space_comes_back(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    queue = await make_queue(store)
    await asyncio.gather(*(store.send(queue, a_message()) for _ in range(QUOTA)))
    await until(lambda: log_is_empty(tmp_path))
    assert (tmp_path / FILE).stat().st_size > QUOTA * 16_000
    await store.delete(queue)
    await until(lambda: (tmp_path / FILE).stat().st_size < 10 * 16_000)
    await store.close()


# The file


async def test_files_are_nobody_elses(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = await open_queues(tmp_path)
        await make_queue(store)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        assert modes == {FILE: 0o600, f"{FILE}-wal": 0o600}
        await store.close()
    finally:
        os.umask(umask)


async def test_one_process_at_a_time(tmp_path: Path, store: QueueStore) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from onion_rdv.smp.server.queue_store import QueueStore\n"
        "asyncio.run(QueueStore.open(Path(sys.argv[1])))\n"
    )
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / FILE), stderr=asyncio.subprocess.PIPE
    )
    _, said = await second.communicate()
    assert b"another server is running on" in said
    await make_queue(store)


async def refused(directory: Path, reason: str) -> None:
    """See that the file is refused and stays as it is."""
    file = directory / FILE
    before = file.read_bytes(), file.stat().st_mtime_ns
    with pytest.raises(StoreError, match=reason) as caught:
        await open_queues(directory)
    assert caught.value.hint
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


async def test_other_stores_are_left_untouched(tmp_path: Path) -> None:
    await (await open_queues(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as sql:
        sql.execute("PRAGMA user_version = 2")
    await refused(tmp_path, "written by a newer onion-rdv")
    with closing(sqlite3.connect(tmp_path / FILE)) as sql:
        sql.execute("PRAGMA user_version = 1")
        sql.execute("PRAGMA application_id = 5")
    await refused(tmp_path, "is not a store of onion-rdv")
    (tmp_path / FILE).write_bytes(b"\xff" * 5000)
    await refused(tmp_path, "damaged, or it is no database")


async def test_a_full_disk_is_named_and_nothing_is_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_queues(tmp_path)
    queue = await make_queue(store)
    await store.close()
    with monkeypatch.context() as patch:
        # SQLite's own limit on pages fails in the way in which a full disk does.
        patch.setattr(storage_file, "_PRAGMAS", (*storage_file._PRAGMAS, "max_page_count = 60"))
        store = await open_queues(tmp_path)
        results = await asyncio.gather(*(store.send(queue, a_message()) for _ in range(50)), return_exceptions=True)
        assert all(isinstance(result, StoreError) for result in results)
        assert await store.contents(queue) == Contents(0, None)
        with pytest.raises(StoreError, match="there is no space left for"):
            await asyncio.gather(*(store.create(new_queue(link=some_data())) for _ in range(50)))
        assert sum("no space left" in message for message in caplog.messages) == 1
        await store.close()
    store = await open_queues(tmp_path)
    assert await store.find(Party.SENDER, queue.sender_id) == queue
    assert await store.send(queue, a_message()) is Sent.KEPT_FIRST
    await store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "sender_id = zeroblob(23)",
        "sender_id = 5",
        "recipient_keys = zeroblob(44)",
        "recipient_keys = 'text'",
        "box_key = 5",
        "sender_key = zeroblob(10)",
        "link_id = zeroblob(2)",
        "mode = 'X'",
    ],
)
async def test_damage_inside_is_said_and_the_rest_goes_on(tmp_path: Path, damage: str) -> None:
    store = await open_queues(tmp_path)
    one, other = await make_queue(store), await make_queue(store)
    await store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as sql, sql:
        sql.execute("PRAGMA ignore_check_constraints = ON")
        sql.execute(f"UPDATE queue SET {damage} WHERE key = ?", (one.key,))  # noqa: S608
    store = await open_queues(tmp_path)
    with pytest.raises(StoreError, match="damaged") as caught:
        await store.find(Party.RECIPIENT, one.recipient_id)
    assert "queues, their links and the messages in them are lost" in caught.value.hint
    assert await store.find(Party.RECIPIENT, other.recipient_id) == other
    await store.close()


@pytest.mark.parametrize("damage", ["id = 'text'", "id = zeroblob(2)", "time = 'text'", "body = 5"])
async def test_a_damaged_message_is_not_delivered(tmp_path: Path, damage: str) -> None:
    store = await open_queues(tmp_path)
    queue = await make_queue(store)
    await store.send(queue, a_message())
    await store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as sql, sql:
        sql.execute("PRAGMA ignore_check_constraints = ON")
        sql.execute(f"UPDATE message SET {damage}")  # noqa: S608
    store = await open_queues(tmp_path)
    with pytest.raises(StoreError, match="damaged"):
        await store.first(queue)
    assert await store.find(Party.RECIPIENT, queue.recipient_id) == queue
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await open_queues(tmp_path)
    queue = await make_queue(store)
    waiting = asyncio.create_task(store.send(queue, a_message()))
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    assert await waiting is Sent.KEPT_FIRST
    with pytest.raises(StoreError, match="closed"):
        await store.first(queue)
