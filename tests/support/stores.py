"""What tests of stores share: how each is opened, a clock that a test sets, links that cost nothing."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, ENTRY_SIZE, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous import links
from onion_rdv.rendezvous.postgres import PostgresStore
from onion_rdv.rendezvous.postgres_address import DatabaseAddress
from onion_rdv.rendezvous.rules import NO_CEILING, Rules
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.store import BucketStore

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from onion_rdv.rendezvous.store import Totals


ONION_KEY = bytes(range(32))
START = 1_700_000_000
TICK = 0.005

OpenStore = Callable[..., Awaitable[BucketStore]]
CheapLink = Callable[["BucketId"], bytes]


class Clock:
    def __init__(self) -> None:
        self.now: float = START
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now


class RoundingUp(Random):
    """Chance that has sums rounded up, whatever they are."""

    def randrange(self, *_: int) -> int:  # type: ignore[override]
        return 0


async def open_sqlite(directory: Path, onion_key: bytes = ONION_KEY, **settings: Any) -> SqliteStore:
    return await SqliteStore.open(directory / "store.db", onion_key, take_rules(settings), tick=TICK, **settings)


async def open_postgres(url: str, onion_key: bytes = ONION_KEY, **settings: Any) -> PostgresStore:
    address = DatabaseAddress.parse(url)
    return await PostgresStore.open(address, onion_key, take_rules(settings), tick=TICK, **settings)


def take_rules(settings: dict[str, Any]) -> Rules:
    """Take what belongs into them out of what a test says; a test that says nothing of a ceiling has none."""
    settings.setdefault("ceiling", NO_CEILING)
    return Rules(**{name: settings.pop(name) for name in ("window", "lifetime", "ceiling") if name in settings})


def cheap_link(bucket_id: BucketId, onion_key: bytes = ONION_KEY) -> bytes:
    return hashlib.sha256(bucket_id.encode() + onion_key).digest()[:16]


def hold_links(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let no link be computed until the event that this gives is set."""
    go_on = threading.Event()

    def slow_link(bucket_id: BucketId, onion_key: bytes) -> bytes:
        go_on.wait(20)
        return cheap_link(bucket_id, onion_key)

    monkeypatch.setattr(links, "bucket_link", slow_link)
    return go_on


def an_entry() -> bytes:
    return secrets.token_bytes(ENTRY_SIZE)


async def query(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "onion_rdv"})
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def all_kept(url: str) -> dict[BucketId, list[bytes]]:
    """Look into all buckets, as a server does that has just started."""
    store = await open_postgres(url, clock=lambda: START)
    ids = [BucketId(*row) for row in await query(url, "SELECT created_at, number FROM bucket")]
    kept = {bucket_id: entries(await store.fetch(cheap_link(bucket_id)) or b"") for bucket_id in ids}
    await store.close()
    return kept


async def until_kept(store: BucketStore, buckets: int) -> None:
    """Wait until a store has erased all but so many buckets."""
    async with asyncio.timeout(20):
        while (await store.totals()).buckets != buckets:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)  # what it has in memory goes with the next turn of the event loop


async def until_closed(store: BucketStore) -> None:
    """Wait until a store has no open bucket."""
    async with asyncio.timeout(20):
        while (await store.totals()).open:
            await asyncio.sleep(0.001)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def close_at_the_second_try(store: BucketStore, no_commit: AbstractAsyncContextManager[None]) -> list[Totals]:
    """Fill a bucket whose last entry is refused first; gives the sums after the refusal, and when it has closed."""
    for _ in range(BUCKET_ENTRIES - 1):
        await store.store(an_entry())
    async with no_commit:
        with pytest.raises(StoreError):
            await store.store(an_entry())
    refused = await store.totals()
    await store.store(an_entry())
    return [refused, await store.totals()]
