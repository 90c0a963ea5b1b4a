"""What every store gives out for a backup and takes in again, from its own kind and from another."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from stores import START, Clock, OpenStore, an_entry, cheap_link, open_sqlite, until

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.kept import Kept, KeptBucket, Marks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.rendezvous.store import BucketStore

pytestmark = pytest.mark.usefixtures("_cheap_links")


@pytest.fixture(params=["out of it", "into it"])
async def both(
    request: pytest.FixtureRequest, open_store: OpenStore, tmp_path: Path, clock: Clock
) -> AsyncIterator[tuple[BucketStore, BucketStore]]:
    """Give two empty stores to move between; one is on SQLite, the other of each kind in turn."""
    (tmp_path / "other").mkdir()
    sqlite = await open_sqlite(tmp_path / "other", clock=clock)
    store = await open_store()
    yield (store, sqlite) if request.param == "out of it" else (sqlite, store)
    await sqlite.close()


async def fill(store: BucketStore, count: int) -> list[BucketId]:
    stored = await asyncio.gather(*(store.store(an_entry()) for _ in range(count)))
    return [one.bucket_id for one in stored]


async def test_another_store_goes_on_where_it_was(both: tuple[BucketStore, BucketStore], clock: Clock) -> None:
    store, other = both
    ids = set(await fill(store, 2 * BUCKET_ENTRIES + 3))
    clock.now += 4000
    ids |= set(await fill(store, 1))
    await other.take_in(store.export())
    assert len(ids) == 4
    for bucket_id in ids:
        link = cheap_link(bucket_id)
        assert await other.fetch(link) == await store.fetch(link) is not None
    there, here = await store.totals(), await other.totals()
    assert (here.buckets, here.opened, here.oldest) == (there.buckets, there.opened, there.oldest)
    assert here.open == 0
    clock.now = START
    assert (await other.store(an_entry())).bucket_id == BucketId(START, 3)


async def test_no_id_comes_back_that_was_ever_given(both: tuple[BucketStore, BucketStore], clock: Clock) -> None:
    store, other = both
    await fill(store, 2 * BUCKET_ENTRIES)
    clock.now += 10 * 24 * 3600
    await until_empty(store)
    await other.take_in(store.export())
    clock.now = START
    assert (await other.store(an_entry())).bucket_id == BucketId(START, 2)


async def until_empty(store: BucketStore) -> None:
    async with asyncio.timeout(20):
        while (await store.totals()).buckets:
            await asyncio.sleep(0.001)


async def test_buckets_come_in_order_and_marks_last(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store()
    clock.now += 5
    await fill(store, 2 * BUCKET_ENTRIES)
    clock.now -= 5
    await fill(store, 1)
    *buckets, marks = [one async for one in store.export()]
    ids = [bucket.bucket_id for bucket in buckets if isinstance(bucket, KeptBucket)]
    assert ids == [BucketId(START, 0), BucketId(START + 5, 0), BucketId(START + 5, 1)]
    assert isinstance(marks, Marks)
    assert (marks.erased_until, marks.erased_number, marks.opened) == (-1, -1, 3)
    assert marks.stored in {0, 64, 128, 192}


async def test_what_was_acknowledged_before_is_in_it_while_stores_go_on(open_store: OpenStore) -> None:
    store = await open_store()
    acknowledged: set[bytes] = set()
    going_on = True

    async def keep_storing() -> None:
        while going_on:
            entry = an_entry()
            await store.store(entry)
            acknowledged.add(entry)

    storing = [asyncio.create_task(keep_storing()) for _ in range(8)]
    try:
        for _ in range(3):
            enough = len(acknowledged) + 5 * BUCKET_ENTRIES
            await until(lambda enough=enough: len(acknowledged) > enough)  # type: ignore[misc]
            before = acknowledged.copy()
            exported: list[Kept] = []
            async for one in store.export():
                if not exported:  # stores go on while this is under way
                    await until(lambda before=before: len(acknowledged) > len(before))  # type: ignore[misc]
                exported.append(one)
            held = [entry for one in exported if isinstance(one, KeptBucket) for entry in entries(one.content)]
            assert before <= set(held)
    finally:
        going_on = False
        await asyncio.gather(*storing)


async def test_a_store_that_has_buckets_takes_nothing_in(both: tuple[BucketStore, BucketStore]) -> None:
    store, other = both
    await fill(store, 1)
    await fill(other, 1)
    with pytest.raises(StoreError, match="has buckets already"):
        await other.take_in(store.export())
    assert (await other.totals()).buckets == 1


async def test_a_backup_given_up_half_way_holds_nothing_up(open_store: OpenStore) -> None:
    store = await open_store()
    await fill(store, 40 * BUCKET_ENTRIES)
    async with aclosing(store.export()) as exporting:
        await anext(exporting)
    await fill(store, 1)


async def nothing() -> AsyncIterator[Kept]:
    yield Marks(-1, -1, 0, 0, 0)


async def test_an_empty_store_moves_too(both: tuple[BucketStore, BucketStore]) -> None:
    store, other = both
    assert [one async for one in store.export()] == [one async for one in nothing()]
    await other.take_in(store.export())
    assert (await other.store(an_entry())).bucket_id == BucketId(START, 0)
