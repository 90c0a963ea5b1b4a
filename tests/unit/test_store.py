"""What holds for every store of buckets; SQLite and PostgreSQL in turn."""

from __future__ import annotations

import asyncio
import secrets
from random import Random

import pytest
from stores import ONION_KEY, START, Clock, OpenStore, an_entry, cheap_link, hold_links, until_kept

from onion_rdv.errors import SettingsError, StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, BucketId, bucket_link
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous import links


async def test_an_entry_is_in_the_bucket_that_its_link_fetches(open_store: OpenStore) -> None:
    store, entry = await open_store(), an_entry()
    stored = await store.store(entry)
    assert stored.bucket_id == BucketId(START, 0)
    assert entries(stored.bucket).count(entry) == 1
    assert await store.fetch(bucket_link(stored.bucket_id, ONION_KEY)) == stored.bucket


async def test_an_unknown_link_fetches_nothing(open_store: OpenStore) -> None:
    store = await open_store()
    await store.store(an_entry())
    assert await store.fetch(bytes(16)) is None


async def test_reading_twice_gives_the_same(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(cached_buckets=0)
    stored = await store.store(an_entry())
    link = bucket_link(stored.bucket_id, ONION_KEY)
    clock.now += 10
    assert await store.fetch(link) == await store.fetch(link) == stored.bucket


async def test_what_is_fetched_is_never_behind_what_was_stored(open_store: OpenStore) -> None:
    store = await open_store()
    link = bucket_link((await store.store(an_entry())).bucket_id, ONION_KEY)
    for _ in range(BUCKET_ENTRIES - 1):
        stored, _ = await asyncio.gather(store.store(an_entry()), store.fetch(link))
        assert await store.fetch(link) == stored.bucket


@pytest.mark.parametrize("cached_buckets", [0, 3, 256])
@pytest.mark.usefixtures("_cheap_links")
async def test_a_thousand_at_once(open_store: OpenStore, cached_buckets: int) -> None:
    store = await open_store(cached_buckets=cached_buckets)
    given = [an_entry() for _ in range(1000)]
    stored = await asyncio.gather(*map(store.store, given))
    for entry, where in zip(given, stored, strict=True):
        assert entries(where.bucket).count(entry) == 1
    ids = sorted({where.bucket_id for where in stored})
    assert ids == [BucketId(START, number) for number in range(16)]
    kept = [await store.fetch(cheap_link(bucket_id)) for bucket_id in ids]
    places = [entry for bucket in kept if bucket is not None for entry in entries(bucket)]
    assert all(places.count(entry) == 1 for entry in given)
    for bucket_id in ids[:-1]:
        assert sum(where.bucket_id == bucket_id for where in stored) == BUCKET_ENTRIES
    totals = await store.totals()
    assert totals.buckets == totals.opened == 16
    assert totals.stored == 1000


async def test_a_bucket_takes_entries_for_the_window_only(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(window=3600)
    first = await store.store(an_entry())
    clock.now += 3599.9
    assert (await store.store(an_entry())).bucket_id == first.bucket_id
    clock.now += 0.1
    assert (await store.store(an_entry())).bucket_id == BucketId(START + 3600, 0)


@pytest.mark.usefixtures("_cheap_links")
async def test_numbers_count_the_buckets_of_one_second(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store()
    ids = {(await store.store(an_entry())).bucket_id for _ in range(2 * BUCKET_ENTRIES)}
    clock.now += 0.9
    await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES)))
    clock.now += 0.1
    ids.add((await store.store(an_entry())).bucket_id)
    assert sorted(ids) == [BucketId(START, 0), BucketId(START, 1), BucketId(START + 1, 0)]


async def test_a_clock_set_back_opens_a_bucket_under_a_new_id(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store()
    ids = []
    for shift in (0, 5, -5, -86_400, 86_400, 5):
        clock.now += shift
        ids.append((await store.store(an_entry())).bucket_id)
    assert ids == [
        BucketId(START, 0),
        BucketId(START, 0),
        BucketId(START, 0),
        BucketId(START - 86_400, 0),
        BucketId(START, 1),
        BucketId(START, 1),
    ]


async def test_no_id_comes_back_after_its_bucket_was_erased(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(lifetime=10_000)
    for _ in range(2 * BUCKET_ENTRIES + 1):
        await store.store(an_entry())
    clock.now += 10_000
    await until_kept(store, 0)
    clock.now = START
    for _ in range(2):
        assert (await store.store(an_entry())).bucket_id == BucketId(START, 3)
        await store.close()
        store = await open_store(lifetime=10_000)
    clock.now = START + 1
    assert (await store.store(an_entry())).bucket_id == BucketId(START, 3)


async def test_buckets_expire_as_a_whole(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(window=60, lifetime=1000)
    old = await store.store(an_entry())
    clock.now += 500
    new = await store.store(an_entry())
    old_link, new_link = (bucket_link(stored.bucket_id, ONION_KEY) for stored in (old, new))
    clock.now += 499.9
    assert await store.fetch(old_link) == old.bucket
    clock.now += 0.1
    await until_kept(store, 1)
    assert await store.fetch(old_link) is None
    assert await store.fetch(new_link) == new.bucket


async def test_a_restart_goes_on_with_the_open_bucket(open_store: OpenStore) -> None:
    store, given = await open_store(), [an_entry() for _ in range(BUCKET_ENTRIES)]
    first = await store.store(given[0])
    for entry in given[1:]:
        if secrets.randbelow(8) == 0:
            await store.close()
            store = await open_store()
        last = await store.store(entry)
        assert last.bucket_id == first.bucket_id
    assert sorted(entries(last.bucket)) == sorted(given)
    assert (await store.store(an_entry())).bucket_id == BucketId(START, 1)
    await store.close()
    store = await open_store()
    assert await store.fetch(bucket_link(first.bucket_id, ONION_KEY)) == last.bucket


async def test_a_bucket_that_was_overdue_at_the_start_takes_nothing_more(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(window=60, lifetime=1000)
    first = await store.store(an_entry())
    await store.close()
    clock.now += 60
    store = await open_store(window=60, lifetime=1000)
    assert (await store.store(an_entry())).bucket_id != first.bucket_id
    assert await store.fetch(bucket_link(first.bucket_id, ONION_KEY)) == first.bucket


@pytest.mark.usefixtures("_cheap_links")
async def test_entries_go_to_places_that_nobody_can_foresee(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(window=1, randomness=Random(7))
    places = []
    for _ in range(400):
        entry = an_entry()
        places.append(entries((await store.store(entry)).bucket).index(entry))
        clock.now += 1
    # 400 draws from 64 places leave fewer than one place out on average, and none comes up very often.
    assert len(set(places)) >= 60
    assert max(map(places.count, places)) <= 20


@pytest.mark.usefixtures("_cheap_links")
async def test_a_bucket_with_its_link_is_fetched_while_others_wait_for_theirs(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(cached_buckets=0)
    full = [await store.store(an_entry()) for _ in range(BUCKET_ENTRIES)][-1]
    assert await store.fetch(cheap_link(full.bucket_id)) == full.bucket
    gate = hold_links(monkeypatch)
    newest = await store.store(an_entry())
    waiting = asyncio.ensure_future(store.fetch(cheap_link(newest.bucket_id)))
    async with asyncio.timeout(15):  # the link that is held back comes after 20 seconds
        assert await store.fetch(cheap_link(full.bucket_id)) == full.bucket
    assert not waiting.done()
    gate.set()
    assert await waiting == newest.bucket


async def test_a_store_does_not_wait_for_the_link_but_a_fetch_does(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_links(monkeypatch)
    store = await open_store()
    stored = [await store.store(an_entry()) for _ in range(BUCKET_ENTRIES + 1)][-1]
    fetches = [
        asyncio.ensure_future(store.fetch(link))
        for link in (cheap_link(BucketId(START, 0)), cheap_link(BucketId(START, 1)), bytes(16))
    ]
    done, _ = await asyncio.wait(fetches, timeout=0.05)
    assert not done
    gate.set()
    full, newest, unknown = await asyncio.gather(*fetches)
    assert full is not None
    assert newest == stored.bucket
    assert unknown is None


@pytest.mark.usefixtures("_cheap_links")
async def test_links_that_a_stop_cut_off_are_made_at_the_next_start(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(bucket_id: BucketId, onion_key: bytes) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(links, "bucket_link", no_link)
        store = await open_store()
        stored = [await store.store(an_entry()) for _ in range(BUCKET_ENTRIES + 1)]
        assert await store.fetch(cheap_link(stored[0].bucket_id)) is None
        await store.close()
    store = await open_store()
    for where in (stored[BUCKET_ENTRIES - 1], stored[-1]):
        assert await store.fetch(cheap_link(where.bucket_id)) == where.bucket


async def test_the_store_of_another_onion_service_is_refused(open_store: OpenStore) -> None:
    store = await open_store()
    stored = await store.store(an_entry())
    await store.close()
    with pytest.raises(StoreError, match="another onion service"):
        await open_store(onion_key=bytes(32))
    store = await open_store()
    assert await store.fetch(bucket_link(stored.bucket_id, ONION_KEY)) == stored.bucket


@pytest.mark.usefixtures("_cheap_links")
async def test_totals_count_everybody_together_and_outlive_a_restart_in_whole_buckets(open_store: OpenStore) -> None:
    store = await open_store()
    stored = await asyncio.gather(*(store.store(an_entry()) for _ in range(100)))
    for _ in range(10):
        await store.fetch(cheap_link(stored[0].bucket_id))
    await store.fetch(bytes(16))
    totals = await store.totals()
    assert (totals.buckets, totals.opened, totals.stored, totals.fetched) == (2, 2, 100, 10)
    assert totals.stored_on_disk in {0, 64, 128}
    assert totals.fetched_on_disk == 0, "no bucket has closed since"
    before = totals
    await store.close()
    totals = await (await open_store()).totals()
    assert totals.stored_on_disk == totals.stored >= before.stored_on_disk
    assert totals.fetched_on_disk == totals.fetched >= before.fetched_on_disk
    assert (totals.buckets, totals.opened) == (2, 2)
    assert totals.stored in {64, 128}
    assert totals.fetched in {0, 64}


async def test_totals_tell_of_the_store_as_it_is(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(window=60, lifetime=1000)
    totals = await store.totals()
    assert (totals.buckets, totals.open, totals.oldest) == (0, 0, None)
    await store.store(an_entry())
    clock.now += 100
    await store.store(an_entry())
    totals = await store.totals()
    assert (totals.buckets, totals.open, totals.oldest) == (2, 1, START)
    assert totals.size >= 2 * BUCKET_SIZE
    clock.now += 900
    await until_kept(store, 1)
    totals = await store.totals()
    assert (totals.open, totals.oldest) == (0, START + 100)


async def test_a_closed_store_says_so(open_store: OpenStore) -> None:
    store = await open_store()
    waiting = asyncio.ensure_future(store.store(an_entry()))
    await asyncio.sleep(0)
    await store.close()
    await waiting
    await store.close()
    for late in (store.store(an_entry()), store.fetch(bytes(16))):
        with pytest.raises(StoreError, match="closed"):
            await late


async def test_who_does_not_wait_for_the_answer_is_nobodys_trouble(open_store: OpenStore) -> None:
    store = await open_store()
    gone = asyncio.ensure_future(store.store(an_entry()))
    await asyncio.sleep(0)
    gone.cancel()
    stored = await store.store(an_entry())
    assert stored.bucket_id == BucketId(START, 0)


async def test_nonsense_is_refused(open_store: OpenStore) -> None:
    store = await open_store()
    with pytest.raises(ValueError, match="256 bytes"):
        await store.store(bytes(255))
    await store.close()
    with pytest.raises(SettingsError, match="longer than they are open"):
        await open_store(window=60, lifetime=60)
