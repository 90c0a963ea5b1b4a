"""What tests of stores are given: each kind of store in turn, a clock that they set, links that cost nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from postgres_server import PostgresServer
from stores import ONION_KEY, Clock, OpenStore, cheap_link, open_postgres, open_sqlite

from onion_rdv.rendezvous import links
from onion_rdv.rendezvous.backup import sealing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from onion_rdv.rendezvous.postgres import PostgresStore
    from onion_rdv.rendezvous.store import BucketStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL; what a test stops it starts again."""
    server = PostgresServer(shared_buffers="32MB", recovery_init_sync_method="syncfs")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def open_in(request: pytest.FixtureRequest) -> OpenStore:
    """Open a store that belongs to a directory: it is in that, or in a database of its own."""
    if request.param == "sqlite":
        return open_sqlite
    server: PostgresServer = request.getfixturevalue("postgres")
    databases: dict[Path, str] = {}

    async def open_it(directory: Path, onion_key: bytes = ONION_KEY, **settings: Any) -> BucketStore:
        if directory not in databases:
            databases[directory] = await server.make_database()
        return await open_postgres(databases[directory], onion_key, **settings)

    return open_it


@pytest.fixture
async def open_store(open_in: OpenStore, tmp_path: Path, clock: Clock) -> AsyncIterator[OpenStore]:
    """Open the one store of this test, again and again if it likes."""
    opened: list[BucketStore] = []

    async def open_it(onion_key: bytes = ONION_KEY, **settings: Any) -> BucketStore:
        store = await open_in(tmp_path, onion_key, clock=clock, **settings)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        await store.close()


@pytest.fixture
def _cheap_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let links cost nothing, for tests that open many buckets."""
    monkeypatch.setattr(links, "bucket_link", cheap_link)


@pytest.fixture
def _cheap_stretching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a backup's passphrase cost nothing."""
    monkeypatch.setattr(sealing, "stretch", lambda secret, salt: hashlib.sha256(salt + secret).digest())


@pytest.fixture
async def database_url(postgres: PostgresServer) -> str:
    """Give the URL of a database of this test's own."""
    return await postgres.make_database()


@pytest.fixture
async def servers(database_url: str, clock: Clock) -> AsyncIterator[list[PostgresStore]]:
    """Give the stores of two servers on one database."""
    stores = [await open_postgres(database_url, clock=clock) for _ in range(2)]
    yield stores
    for store in stores:
        await store.close()
