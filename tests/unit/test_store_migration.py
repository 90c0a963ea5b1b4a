"""A store that an older version left: what happens to it when a newer one opens it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest
from stores import (
    ONION_KEY,
    START,
    Clock,
    OpenStore,
    an_entry,
    cheap_link,
    hold_links,
    open_postgres,
    open_sqlite,
    query,
    until,
)

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, BucketId
from onion_rdv.rendezvous import links, postgres_connections, postgres_setup, postgres_tables, sqlite_file
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer

    from onion_rdv.rendezvous.postgres import PostgresStore

pytestmark = pytest.mark.usefixtures("_cheap_links")

ADD_A_COLUMN = "ALTER TABLE owner ADD COLUMN motto text NOT NULL DEFAULT 'none'"
SET_IT = "UPDATE owner SET motto = 'what was, stays'"
NONSENSE = "UPDATE nothing SET motto = 'none'"

Become = Callable[[Sequence[str] | None], None]


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> Become:
    """Let both stores be of version 2, with these statements to get there from version 1, or with none known."""

    def become(statements: Sequence[str] | None) -> None:
        migrations = {} if statements is None else {1: statements}
        form = replace(sqlite_file._FORM, version=2, migrations=migrations)
        monkeypatch.setattr(sqlite_file, "_FORM", form)
        monkeypatch.setattr(postgres_setup, "SCHEMA_VERSION", 2)
        monkeypatch.setattr(postgres_setup, "MIGRATIONS", migrations)

    return become


async def test_it_is_migrated_and_goes_on(open_store: OpenStore, next_version: Become) -> None:
    store = await open_store()
    stored = await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES + 1)))
    await store.close()
    next_version((ADD_A_COLUMN, SET_IT))
    for _ in range(2):  # the second time it is of this version
        store = await open_store()
        assert await store.fetch(cheap_link(BucketId(START, 0))) == stored[0].bucket
        assert (await store.store(an_entry())).bucket_id == BucketId(START, 1)
        await store.close()


@pytest.mark.parametrize(
    ("statements", "onion_key", "reason"),
    [
        ((ADD_A_COLUMN, NONSENSE), ONION_KEY, "nothing|not as this version left them"),
        ((ADD_A_COLUMN, SET_IT), bytes(32), "another onion service"),
        (None, ONION_KEY, "too old"),
    ],
)
async def test_what_cannot_be_migrated_stays_as_it_was(
    open_store: OpenStore,
    next_version: Become,
    monkeypatch: pytest.MonkeyPatch,
    statements: Sequence[str] | None,
    onion_key: bytes,
    reason: str,
) -> None:
    store = await open_store()
    stored = await store.store(an_entry())
    await store.close()
    next_version(statements)
    for _ in range(2):
        with pytest.raises(StoreError, match=reason):
            await open_store(onion_key=onion_key)
    monkeypatch.undo()
    monkeypatch.setattr(links, "bucket_link", cheap_link)
    store = await open_store()
    assert await store.fetch(cheap_link(stored.bucket_id)) == stored.bucket


async def test_both_are_really_changed(postgres: PostgresServer, tmp_path: Path, next_version: Become) -> None:
    url = await postgres.make_database()
    await (await open_sqlite(tmp_path, clock=Clock())).close()
    await (await open_postgres(url)).close()
    next_version((ADD_A_COLUMN, SET_IT))
    await (await open_sqlite(tmp_path, clock=Clock())).close()
    await (await open_postgres(url)).close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql:
        assert sql.execute("SELECT motto FROM owner").fetchone() == ("what was, stays",)
        assert sql.execute("PRAGMA user_version").fetchone() == (2,)
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT motto FROM onion_rdv.owner") == "what was, stays"
    assert await connection.fetchval("SELECT number FROM onion_rdv.version") == 2
    await connection.close()


async def all_rows(url: str) -> dict[str, list[object]]:
    tables = ("version", "owner", "bucket", "content", "placed", "filling", "usage")
    return {table: sorted(await query(url, f"SELECT * FROM {table}"), key=repr) for table in tables}  # noqa: S608


async def test_a_server_whose_tables_a_newer_one_has_changed_writes_nothing_more(
    database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_postgres(database_url, clock=clock)
    await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES)))
    go_on = hold_links(monkeypatch)
    stored = await store.store(an_entry())
    await store.fetch(cheap_link(BucketId(START, 0)))
    await query(database_url, "UPDATE version SET number = 2 RETURNING number")
    before = await all_rows(database_url)

    with pytest.raises(StoreError, match="were changed by a newer onion-rdv") as refused:
        await store.store(an_entry())
    assert "upgrade this server" in refused.value.hint
    go_on.set()
    await store._links.settled()  # there is a link to write,
    clock.now += DEFAULT_LIFETIME  # a bucket to close, and one to erase
    looks = clock.looks
    await until(lambda: clock.looks > looks + 5)
    await store._erase(clock.now)  # as if it had looked a moment before
    await store.close()  # there are sums to add
    assert await all_rows(database_url) == before
    assert before["bucket"][1] == (2, START, stored.bucket_id.number, None)
    assert sum("were changed by a newer onion-rdv" in message for message in caplog.messages) == 1


async def writer(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, server_settings=postgres_connections._SESSION)


async def waits_for_tables(url: str, opening: asyncio.Task[PostgresStore]) -> None:
    """Wait until a store that is being opened has to wait for a table that somebody else has."""
    async with asyncio.timeout(20):
        while not await query(url, "SELECT FROM pg_locks WHERE NOT granted AND mode LIKE '%ExclusiveLock'"):
            assert not opening.done()
            await asyncio.sleep(0.01)


async def test_tables_are_not_migrated_under_a_server_that_writes(database_url: str, next_version: Become) -> None:
    await (await open_postgres(database_url)).close()
    writing = await writer(database_url)
    transaction = writing.transaction()
    await transaction.start()
    await postgres_tables.lock(writing, None)
    next_version((ADD_A_COLUMN, SET_IT))
    opening = asyncio.create_task(open_postgres(database_url))
    await waits_for_tables(database_url, opening)
    await transaction.commit()
    await (await opening).close()
    assert await query(database_url, "SELECT number, motto FROM version, owner") == [(2, "what was, stays")]
    await writing.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda late: postgres_tables.lock(late, None),
        lambda late: postgres_tables.set_link(late, 1, bytes(16)),
        lambda late: postgres_tables.add_usage(late, 1, 1),
        lambda late: postgres_tables.erase(late, 0, 1),
        lambda late: postgres_tables.read(late, key=1),
    ],
    ids=["lock", "set_link", "add_usage", "erase", "read"],
)
async def test_who_comes_while_tables_are_migrated_is_in_nobodys_way(
    database_url: str, next_version: Become, write: Callable[[asyncpg.Connection], Coroutine[None, None, object]]
) -> None:
    await (await open_postgres(database_url)).close()
    writing, late = await writer(database_url), await writer(database_url)
    await write(late)  # it has a plan for this, as a server that has been running for long
    transaction = writing.transaction()
    await transaction.start()
    await postgres_tables.lock(writing, None)
    next_version([f"ALTER TABLE {table} ADD COLUMN motto text" for table in ("bucket", "usage", "filling")])
    opening = asyncio.create_task(open_postgres(database_url))
    await waits_for_tables(database_url, opening)
    coming = asyncio.create_task(write(late))
    async with asyncio.timeout(20):
        while not coming.done() and not await query(
            database_url, f"SELECT FROM pg_locks WHERE NOT granted AND pid = {late.get_server_pid()}"
        ):
            await asyncio.sleep(0.01)
    await transaction.commit()
    await coming
    await (await opening).close()
    assert await query(database_url, "SELECT number FROM version") == [(2,)]
    for connection in (writing, late):
        await connection.close()


async def test_a_migration_that_has_to_give_way_is_tried_again(database_url: str, next_version: Become) -> None:
    await (await open_postgres(database_url)).close()
    first, patient = await writer(database_url), await writer(database_url)
    await patient.execute("SET deadlock_timeout = '1h'; SET lock_timeout = 0; SET statement_timeout = 0")
    transactions = [connection.transaction() for connection in (first, patient)]
    for transaction in transactions:
        await transaction.start()
    await first.execute("LOCK TABLE bucket IN SHARE MODE")
    await patient.execute("LOCK TABLE owner IN ROW EXCLUSIVE MODE")
    next_version((ADD_A_COLUMN, SET_IT))
    opening = asyncio.create_task(open_postgres(database_url))
    await waits_for_tables(database_url, opening)
    # This one is next when the migration has the table; and the migration will want what this one has.
    next_one = asyncio.create_task(patient.execute("LOCK TABLE bucket IN ROW EXCLUSIVE MODE", timeout=20))
    async with asyncio.timeout(20):
        while not await query(database_url, "SELECT FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'"):
            await asyncio.sleep(0.01)
    await transactions[0].commit()
    await next_one
    await transactions[1].commit()
    await (await opening).close()
    assert await query(database_url, "SELECT number, motto FROM version, owner") == [(2, "what was, stays")]
    for connection in (first, patient):
        await connection.close()
