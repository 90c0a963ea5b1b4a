"""How many buckets a store opens, whatever comes: never more than clients accept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from stores import START, Clock, OpenStore, an_entry

from onion_rdv.errors import TooManyBuckets
from onion_rdv.protocol import BUCKET_ENTRIES, BucketId, Limits, check_bucket_id
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.rules import Ceiling
from onion_rdv.rendezvous.store import StoredBucket

if TYPE_CHECKING:
    from onion_rdv.rendezvous.store import BucketStore

pytestmark = pytest.mark.usefixtures("_cheap_links")


async def put(store: BucketStore, count: int) -> list[StoredBucket]:
    """Store so many at once; gives where those went that were kept, and lets no other error pass."""
    done = await asyncio.gather(*(store.store(an_entry()) for _ in range(count)), return_exceptions=True)
    assert all(isinstance(one, StoredBucket | TooManyBuckets) for one in done)
    return [one for one in done if isinstance(one, StoredBucket)]


async def test_a_flood_opens_no_bucket_that_clients_refuse(
    open_store: OpenStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store(ceiling=Ceiling(a_minute=0))
    kept = await put(store, 20 * BUCKET_ENTRIES)
    assert len(kept) == 16 * BUCKET_ENTRIES
    assert await put(store, 10) == []
    assert sorted({where.bucket_id for where in kept}) == [BucketId(START, number) for number in range(16)]
    for where in kept:
        check_bucket_id(where.bucket_id, clock.now, Limits())
    assert (await store.totals()).stored == len(kept)
    assert len(caplog.messages) == 1
    assert "too many new buckets were opened" in caplog.messages[0]
    clock.now += 1
    assert (await store.store(an_entry())).bucket_id == BucketId(START + 1, 0)


async def test_the_ceiling_of_a_minute_outlives_a_restart(open_store: OpenStore, clock: Clock) -> None:
    ceiling = Ceiling(a_minute=3)
    store = await open_store(ceiling=ceiling)
    for _ in range(3):
        assert len(await put(store, BUCKET_ENTRIES)) == BUCKET_ENTRIES
        clock.now += 10
    for late in (0, 29.9):
        clock.now = START + 30 + late
        with pytest.raises(TooManyBuckets, match="3 in a minute") as refused:
            await store.store(an_entry())
        assert "max_new_buckets" in refused.value.hint
        await store.close()
        store = await open_store(ceiling=ceiling)
    clock.now = START + 60
    assert len(await put(store, 2 * BUCKET_ENTRIES)) == BUCKET_ENTRIES
    clock.now = START + 70
    assert (await store.store(an_entry())).bucket_id == BucketId(START + 70, 0)
    assert (await store.totals()).opened == 5


async def test_the_open_bucket_takes_entries_whatever_the_ceiling(open_store: OpenStore) -> None:
    store = await open_store(ceiling=Ceiling(a_minute=1))
    given = [an_entry() for _ in range(BUCKET_ENTRIES)]
    for entry in given:
        last = await store.store(entry)
    assert sorted(entries(last.bucket)) == sorted(given)
    assert await put(store, 3) == []


async def test_a_clock_set_back_does_not_hold_up_new_buckets_for_long(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(ceiling=Ceiling(a_minute=2))
    assert len(await put(store, 2 * BUCKET_ENTRIES)) == 2 * BUCKET_ENTRIES
    clock.now -= 86_400
    assert (await store.store(an_entry())).bucket_id == BucketId(START - 86_400, 0)
