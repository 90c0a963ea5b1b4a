"""A store that an older version left: what happens to it when a newer one opens it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
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


async def test_tables_are_not_migrated_under_a_server_that_writes(database_url: str, next_version: Become) -> None:
    await (await open_postgres(database_url)).close()
    writing = await asyncpg.connect(database_url, server_settings=postgres_connections._SESSION)
    transaction = writing.transaction()
    await transaction.start()
    await postgres_tables.lock(writing, None)
    next_version((ADD_A_COLUMN, SET_IT))
    opening = asyncio.create_task(open_postgres(database_url))
    async with asyncio.timeout(20):
        while not await query(
            database_url, "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        ):
            assert not opening.done()
            await asyncio.sleep(0.01)
    await transaction.commit()
    await (await opening).close()
    assert await query(database_url, "SELECT number, motto FROM version, owner") == [(2, "what was, stays")]
    await writing.close()
