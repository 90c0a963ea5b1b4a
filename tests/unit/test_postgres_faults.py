"""A database that goes and comes back, crashes, hangs, or cannot be used: what is said of it, and what is kept."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg
import pytest
from stores import (
    ONION_KEY,
    START,
    RoundingUp,
    all_kept,
    an_entry,
    close_at_the_second_try,
    open_postgres,
    query,
    until,
)

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, BucketId, bucket_link
from onion_rdv.rendezvous import postgres_connections
from onion_rdv.rendezvous.postgres_faults import explain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postgres_server import PostgresServer

    from onion_rdv.rendezvous.postgres import PostgresStore


SECRET = "hunter2-and-more"


async def test_postgresql_that_is_gone_is_said_and_comes_back(
    postgres: PostgresServer, servers: list[PostgresStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = servers[0]
    closed = [await store.store(an_entry()) for _ in range(BUCKET_ENTRIES)][-1]
    link = bucket_link(closed.bucket_id, ONION_KEY)
    assert await store.fetch(link) == closed.bucket
    postgres.stop()
    try:
        for _ in range(20):
            with pytest.raises(StoreError, match=r"PostgreSQL on .*(does not answer|has ended|stopping)") as refused:
                await store.store(an_entry())
            assert "by itself" in refused.value.hint
            assert refused.value.exit_code == 9
            with pytest.raises(StoreError):
                await store.fetch(bytes(16))
        assert await store.fetch(link) == closed.bucket  # from memory
    finally:
        postgres.start()
    assert max(Counter(caplog.messages).values()) <= len(servers)  # each says each cause once a minute
    async with asyncio.timeout(20):
        while True:
            with suppress(StoreError):
                assert (await store.store(an_entry())).bucket_id == BucketId(START, 1)
                break
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("_cheap_links")
async def test_nothing_acknowledged_is_lost_when_postgresql_crashes(
    postgres: PostgresServer, database_url: str
) -> None:
    stores = [await open_postgres(database_url, clock=lambda: START) for _ in range(2)]
    acknowledged: dict[bytes, BucketId] = {}
    sent: set[bytes] = set()
    failed = 0
    ending = False

    async def put(store: PostgresStore) -> None:
        while not ending:
            entry = an_entry()
            sent.add(entry)
            try:
                acknowledged[entry] = (await store.store(entry)).bucket_id
            except StoreError:
                nonlocal failed
                failed += 1
                await asyncio.sleep(0.01)

    putting = [asyncio.create_task(put(store)) for store in stores for _ in range(8)]
    for how in (signal.SIGQUIT, signal.SIGINT):
        enough = len(acknowledged) + 300
        while len(acknowledged) < enough:
            await asyncio.sleep(0.001)
        failed_before = failed
        postgres.stop(how)
        while failed == failed_before:
            await asyncio.sleep(0.001)
        postgres.start()
    enough = len(acknowledged) + 300
    while len(acknowledged) < enough:
        await asyncio.sleep(0.001)
    ending = True
    await asyncio.gather(*putting)
    for store in stores:
        await store.close()
    kept = await all_kept(database_url)
    everywhere = Counter(entry for held in kept.values() for entry in held)
    assert len(sent) > len(acknowledged)
    assert all(everywhere[entry] == 1 and entry in kept[bucket_id] for entry, bucket_id in acknowledged.items())
    assert max(everywhere[entry] for entry in sent) == 1


async def test_a_server_that_hangs_in_the_middle_does_not_hold_up_the_others(
    servers: list[PostgresStore], database_url: str
) -> None:
    session = postgres_connections._SESSION | {"idle_in_transaction_session_timeout": "200ms"}
    hanging = await asyncpg.connect(database_url, server_settings=session)
    await hanging.execute("BEGIN; SELECT FROM filling FOR UPDATE")  # at once: it has little time between two
    assert (await servers[0].store(an_entry())).bucket_id == BucketId(START, 0)
    await until(hanging.is_closed)  # it lets the others go on a moment before it is gone


async def test_who_waits_too_long_is_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patience = postgres_connections._SESSION | {"lock_timeout": "500ms"}
    monkeypatch.setattr(postgres_connections, "_SESSION", patience)
    store = await open_postgres(database_url)
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("SELECT FROM onion_rdv.filling FOR UPDATE")
        with pytest.raises(StoreError, match="takes too long"):
            await store.store(an_entry())
    await store.store(an_entry())
    await other.close()
    await store.close()


@asynccontextmanager
async def no_bucket_can_close(url: str) -> AsyncIterator[None]:
    """Have each transaction that closes a bucket fail when it is committed, and no earlier."""
    await query(url, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ASSERT false; END'")
    await query(
        url,
        "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON content"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    yield
    await query(url, "DROP FUNCTION refuse CASCADE")


async def test_totals_that_were_not_committed_are_not_told_and_not_lost(database_url: str) -> None:
    store = await open_postgres(database_url, clock=lambda: START, randomness=RoundingUp())
    refused, closed = await close_at_the_second_try(store, no_bucket_can_close(database_url))
    assert (refused.stored_on_disk, refused.opened) == (0, 1)
    assert (closed.stored_on_disk, closed.opened) == (BUCKET_ENTRIES, 1)
    await store.close()
    assert await query(database_url, "SELECT opened, stored FROM usage") == [(1, 2 * BUCKET_ENTRIES)]


async def refused(database_url: str, reason: str) -> StoreError:
    with pytest.raises(StoreError, match=reason) as caught:
        await open_postgres(database_url)
    assert caught.value.hint
    return caught.value


async def test_the_store_of_a_newer_version_is_refused(database_url: str) -> None:
    await (await open_postgres(database_url)).close()
    await query(database_url, "UPDATE version SET number = 2 RETURNING number")
    before = await query(database_url, "SELECT * FROM owner")
    await refused(database_url, "written by a newer onion-rdv")
    assert await query(database_url, "SELECT * FROM owner") == before


async def test_what_cannot_be_used_is_named(postgres: PostgresServer, database_url: str) -> None:
    await refused(postgres.url("nowhere"), r"\(database nowhere\) does not exist")
    name = database_url.partition("@/")[2].partition("?")[0]
    await postgres.execute(name, "CREATE SCHEMA onion_rdv")
    await refused(database_url, "is not a store of onion-rdv")
    await postgres.execute(name, "DROP SCHEMA onion_rdv")
    await postgres.execute("postgres", "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    await refused(database_url.replace("onion@", "guest@"), "does not let this server make or use its tables")
    await postgres.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "primary" in (await refused(database_url, "standby")).hint
    await postgres.execute("postgres", f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await (await open_postgres(database_url)).close()
    await query(database_url, "DROP TABLE filling CASCADE")
    store = await open_postgres(database_url)
    with pytest.raises(StoreError, match="are not as this version left them"):
        await store.store(an_entry())
    await store.close()


@pytest.mark.parametrize(
    ("error", "says", "cure"),
    [
        (asyncpg.DiskFullError(SECRET), "there is no space left for", "free some space"),
        (asyncpg.TooManyConnectionsError(SECRET), "no connection left", "max_connections"),
        (asyncpg.InvalidPasswordError(SECRET), "does not let this server in", "pg_hba.conf"),
        (asyncpg.ReadOnlySQLTransactionError(SECRET), "standby", "primary"),
        (asyncpg.DataCorruptedError(SECRET), "is damaged", "put a backup back"),
        (asyncpg.CannotConnectNowError(SECRET), "stopping or starting", "by itself"),
        (asyncpg.UniqueViolationError(SECRET), "contradicts itself", "put a backup back"),
        (asyncpg.DivisionByZeroError(SECRET), "SQLSTATE 22012", "bug"),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "does not answer (Connection refused)",
            "whether it runs",
        ),
        (ConnectionError(f'PostgreSQL at "{SECRET}:1" rejected SSL upgrade'), "does not speak TLS", "ssl = on"),
        (
            ssl.SSLCertVerificationError(1, SECRET),
            "has a certificate that this server does not trust",
            "sslrootcert",
        ),
        (ssl.SSLError(1, SECRET), "do not agree on TLS", "sslcert"),
        (asyncpg.UndefinedObjectError(SECRET), "does not know something that stands behind", "no parameter"),
        (KeyError(SECRET), "a fault inside (KeyError)", "bug"),
    ],
)
def test_faults_are_told_with_cause_and_cure_and_without_values(error: Exception, says: str, cure: str) -> None:
    fault = explain(error, "PostgreSQL on db.example")
    assert says in fault.message
    assert cure in fault.hint
    assert SECRET not in fault.message + fault.hint


async def test_a_database_that_does_not_sync_is_refused(postgres: PostgresServer, database_url: str) -> None:
    await postgres.execute("postgres", "ALTER SYSTEM SET fsync = off")
    await postgres.execute("postgres", "SELECT pg_reload_conf()")
    try:
        async with asyncio.timeout(20):
            while (await query(database_url, "SHOW fsync")) != [("off",)]:
                await asyncio.sleep(0.01)
        await refused(database_url, "would lose what was acknowledged")
    finally:
        await postgres.execute("postgres", "ALTER SYSTEM RESET fsync")
        await postgres.execute("postgres", "SELECT pg_reload_conf()")
        async with asyncio.timeout(20):
            while (await query(database_url, "SHOW fsync")) != [("on",)]:
                await asyncio.sleep(0.01)
