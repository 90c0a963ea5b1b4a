"""What is particular to the store in PostgreSQL: several servers fill one bucket in one database."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import pytest
from stores import ONION_KEY, START, Clock, all_kept, an_entry, cheap_link, open_postgres, query, until, until_kept

from onion_rdv.errors import TooManyBuckets
from onion_rdv.protocol import BUCKET_ENTRIES, BucketId, bucket_link
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous import links, postgres_connections, postgres_tables
from onion_rdv.rendezvous.postgres_clock import DatabaseClock
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME, Ceiling

if TYPE_CHECKING:
    from postgres_server import PostgresServer

    from onion_rdv.rendezvous.postgres import PostgresStore
    from onion_rdv.rendezvous.store import StoredBucket


DAY = 86400


# Several servers


async def test_servers_fill_the_same_bucket_in_turn(servers: list[PostgresStore]) -> None:
    given = [an_entry() for _ in range(BUCKET_ENTRIES)]
    for number, entry in enumerate(given):
        stored = await servers[number % 2].store(entry)
        assert stored.bucket_id == BucketId(START, 0)
        assert set(given[: number + 1]) <= set(entries(stored.bucket))
    assert sorted(entries(stored.bucket)) == sorted(given)
    for store in servers:
        assert await store.fetch(bucket_link(stored.bucket_id, ONION_KEY)) == stored.bucket
    assert (await servers[0].store(an_entry())).bucket_id == BucketId(START, 1)


@pytest.mark.usefixtures("_cheap_links")
async def test_whatever_races_every_entry_has_a_place_of_its_own(
    servers: list[PostgresStore], database_url: str
) -> None:
    stores = servers + [await open_postgres(database_url, clock=servers[0]._clock._instead) for _ in range(2)]
    given: dict[bytes, StoredBucket] = {}

    async def put(store: PostgresStore, count: int) -> None:
        for _ in range(count):
            entry = an_entry()
            given[entry] = await store.store(entry)

    await asyncio.gather(*(put(store, 10) for store in stores for _ in range(25)))
    for store in stores[2:]:
        await store.close()
    for entry, stored in given.items():
        assert entries(stored.bucket).count(entry) == 1
    # Twenty-five clients of each of four servers, in one second: as few buckets as there can be, and small numbers.
    kept = await all_kept(database_url)
    assert sorted(kept) == [BucketId(START, number) for number in range(-(-1000 // BUCKET_ENTRIES))]
    everywhere = Counter(entry for held in kept.values() for entry in held)
    assert all(everywhere[entry] == 1 for entry in given)
    assert all(entry in kept[stored.bucket_id] for entry, stored in given.items())
    assert max(Counter(stored.bucket_id for stored in given.values()).values()) == BUCKET_ENTRIES
    assert await query(database_url, "SELECT DISTINCT octet_length(entries) FROM content") == [(16_384,)]


@pytest.mark.usefixtures("_cheap_links")
async def test_the_ceiling_is_that_of_all_servers_together(database_url: str, clock: Clock) -> None:
    stores = [await open_postgres(database_url, clock=clock, ceiling=Ceiling(a_minute=3)) for _ in range(2)]
    stored = await asyncio.gather(
        *(store.store(an_entry()) for store in stores for _ in range(3 * BUCKET_ENTRIES)), return_exceptions=True
    )
    assert sum(isinstance(one, TooManyBuckets) for one in stored) == 3 * BUCKET_ENTRIES
    assert len(await all_kept(database_url)) == 3
    for store in stores:
        with pytest.raises(TooManyBuckets):
            await store.store(an_entry())
        await store.close()


async def test_a_link_that_the_other_server_never_made_is_made_by_this_one(
    servers: list[PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(bucket_id: BucketId, onion_key: bytes) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(links, "bucket_link", no_link)
        stored = await servers[0].store(an_entry())
        await servers[0]._links.settled()
    link = bucket_link(stored.bucket_id, ONION_KEY)
    fetched = await asyncio.gather(*(servers[1].fetch(link) for _ in range(5)), servers[1].fetch(bytes(16)))
    assert fetched == [stored.bucket] * 5 + [None]
    assert await servers[0].fetch(link) == stored.bucket


async def test_a_bucket_that_another_server_erased_is_not_in_memory_either(
    servers: list[PostgresStore], database_url: str, clock: Clock
) -> None:
    store, other = servers
    stored = [await other.store(an_entry()) for _ in range(BUCKET_ENTRIES)][-1]
    link = bucket_link(stored.bucket_id, ONION_KEY)
    assert await store.fetch(link) == await store.fetch(link) == stored.bucket
    assert store._cache.get(link) is not None
    clock.now += 7 * 24 * 3600
    assert await store.fetch(link) is None
    await until_kept(store, 0)
    await until(lambda: store._cache.get(link) is None)
    for table in ("bucket", "content", "placed"):
        assert await query(database_url, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608


@pytest.mark.usefixtures("_cheap_links")
async def test_erasing_by_several_at_once_erases_each_once(database_url: str, clock: Clock) -> None:
    stores = [await open_postgres(database_url, clock=clock, lifetime=10_000, cached_buckets=0) for _ in range(3)]
    await asyncio.gather(*(stores[0].store(an_entry()) for _ in range(150 * BUCKET_ENTRIES)))
    clock.now += 5_000
    await stores[1].store(an_entry())
    clock.now += 5_000
    await until_kept(stores[2], 1)
    for store in stores:
        await store.close()
    assert await query(database_url, "SELECT erased_until, erased_number FROM owner") == [(START, 149)]


async def test_without_a_clock_of_a_test_it_is_the_databases(database_url: str) -> None:
    store = await open_postgres(database_url)
    stored = await store.store(an_entry())
    ((now,),) = await query(database_url, "SELECT extract(epoch FROM clock_timestamp())::float8")
    assert 0 <= now - stored.bucket_id.created_at < 60
    assert await store.fetch(bucket_link(stored.bucket_id, ONION_KEY)) == stored.bucket
    await store.close()


async def test_each_server_says_once_that_the_databases_clock_was_set(
    servers: list[PostgresStore], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(*(store.store(an_entry()) for store in servers))
    assert caplog.messages == []
    for step, says in ((DAY, "set forward by 86400 seconds"), (-2 * DAY, "set back by 172800 seconds")):
        caplog.clear()
        clock.now += step
        await until(lambda: len(caplog.messages) == len(servers))
        for store in servers:
            await store.store(an_entry())
        assert len(caplog.messages) == len(servers)
        for message in caplog.messages:
            assert message.startswith("the clock of PostgreSQL on ")
            assert says in message
            assert message.endswith("look at timedatectl on the database's machine, and at what sets the clock there")


@pytest.mark.parametrize(
    ("ahead", "says"), [(0, ""), (8 * DAY, "691200 seconds ahead of"), (-DAY, "86400 seconds behind")]
)
def test_a_clock_of_the_database_that_is_not_this_machines_is_told_once(
    ahead: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = DatabaseClock("PostgreSQL on db.example")
    for _ in range(2):
        clock.heard(time.time() + ahead)
    assert len(caplog.messages) == bool(says)
    assert says in caplog.text
    assert abs(clock.now - time.time() - ahead) < 60


async def test_totals_are_those_of_all_servers_as_far_as_they_have_told(servers: list[PostgresStore]) -> None:
    for store in servers:
        for _ in range(BUCKET_ENTRIES // 2):
            await store.store(an_entry())
    await servers[0].close()
    totals = await servers[1].totals()
    assert (totals.opened, totals.open, totals.buckets) == (1, 0, 1)
    assert totals.stored % BUCKET_ENTRIES == BUCKET_ENTRIES // 2 or totals.stored % BUCKET_ENTRIES == 0


# What is forgotten


async def test_the_tables_of_a_closed_bucket_do_not_tell_its_places(
    servers: list[PostgresStore], database_url: str
) -> None:
    store = servers[0]
    await store.store(an_entry())
    await store.store(an_entry())
    ((_, taken, mark),) = await query(database_url, "SELECT key, taken, mark FROM filling")
    assert taken != bytes(8)
    assert mark != 0
    assert len(await query(database_url, "SELECT FROM placed")) == 1  # the first one is part of how the bucket began
    servers[1]._clock._instead.now += 4000  # type: ignore[union-attr]
    await until_async_empty(database_url)
    assert await query(database_url, "SELECT key, created_at, number, taken, mark FROM filling") == [
        (None, None, None, bytes(8), 0)
    ]


async def until_async_empty(database_url: str) -> None:
    async with asyncio.timeout(20):
        while await query(database_url, "SELECT FROM placed"):
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("_cheap_links")
async def test_what_expired_is_in_no_table_and_files_that_are_written_anew_do_not_have_it(
    servers: list[PostgresStore], database_url: str, postgres: PostgresServer, clock: Clock
) -> None:
    store = servers[0]
    stored = await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES + 7)))
    links = {cheap_link(one.bucket_id): one.bucket for one in stored}
    for link in links:
        assert await store.fetch(link) is not None
    async with asyncio.timeout(20):  # a link that has just been made is known before it is written
        while await query(database_url, "SELECT FROM bucket WHERE link IS NULL"):
            await asyncio.sleep(0.01)
    pieces = [*links, *(bucket[:64] for bucket in links.values())]
    files = await in_the_tables_files(postgres, database_url)
    assert all(piece in files for piece in pieces)
    clock.now += DEFAULT_LIFETIME
    for server in servers:
        await until_kept(server, 0)
        assert [await server.fetch(link) for link in links] == [None] * len(links)
    for table in ("bucket", "content", "placed"):
        assert await query(database_url, f"SELECT FROM {table}") == []
    for table in ("bucket", "content", "placed"):
        await query(database_url, f"VACUUM FULL {table}")
    files = await in_the_tables_files(postgres, database_url)
    assert not any(piece in files for piece in pieces)


async def in_the_tables_files(postgres: PostgresServer, url: str) -> bytes:
    """Give the files of one database; the log keeps what was in them for a while yet (docs/stores.md)."""
    await query(url, "CHECKPOINT")
    ((number,),) = await query(url, "SELECT oid FROM pg_database WHERE datname = current_database()")
    found = []
    for file in (postgres.directory / "data" / "base" / str(number)).iterdir():
        with suppress(FileNotFoundError):  # PostgreSQL has taken it away meanwhile
            found.append(file.read_bytes())
    return b"".join(found)


# The tables


async def test_looking_for_a_bucket_needs_no_search(database_url: str) -> None:
    await (await open_postgres(database_url)).close()
    connection = await asyncpg.connect(database_url, server_settings=postgres_connections._SESSION)
    for statement, arguments in ((postgres_tables._READ, (bytes(16), None)), (postgres_tables._READ, (None, 5))):
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *arguments))
        assert "Seq Scan on filling" in plan  # of one row
        assert not {"bucket", "content", "placed"} & {
            line.split("Seq Scan on ")[1].split()[0] for line in plan.splitlines() if "Seq Scan on " in line
        }, plan
    await connection.close()


async def test_servers_that_start_at_the_same_time_make_one_store(database_url: str) -> None:
    stores = await asyncio.gather(*(open_postgres(database_url) for _ in range(4)))
    assert await query(database_url, "SELECT number FROM version") == [(1,)]
    for store in stores:
        await store.close()
