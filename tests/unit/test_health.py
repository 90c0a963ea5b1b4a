"""Whether a server finds out that it is well, and that it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from smp_server import running
from stores import ONION_KEY

from onion_rdv.errors import MessagingServerUnreachable, RdvError, ServerUnreachable
from onion_rdv.rendezvous.health import check
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.smp.health import check as check_messaging
from onion_rdv.smp.wire.address import SmpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE = 20.0
HOST = "a" * 56 + ".onion"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY)
    yield store
    await store.close()


async def test_a_server_that_is_well(store: SqliteStore, tmp_path: Path) -> None:
    face = WebFace(store)
    await face.start(tmp_path / "web", 0o600)
    before = await store.totals()
    await check(tmp_path / "web")
    assert await store.totals() == before, "operators see what clients did, and nothing else"
    await face.stop()
    with pytest.raises(ServerUnreachable):
        await check(tmp_path / "web")


async def test_too_many_clients_are_no_illness(store: SqliteStore, tmp_path: Path) -> None:
    face = WebFace(store, max_connections=1)
    await face.start(tmp_path / "web", 0o600)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "web")
    await check(tmp_path / "web")
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    await face.stop()


async def test_a_server_whose_store_hangs(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "fetch", lambda _link: asyncio.Event().wait())
    face = WebFace(store)
    await face.start(tmp_path / "web", 0o600)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await check(tmp_path / "web")
    await face.stop(0.1)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 \r\n", bytes(17_000)])
async def test_something_else_in_its_place(tmp_path: Path, says: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "web"):
        with pytest.raises(RdvError):
            await check(tmp_path / "web")


async def test_a_messaging_server_that_is_well(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections=0) as server:  # everybody else's are taken
        address = SmpServer(server.face.fingerprint, (HOST,))
        await check_messaging(server.path, address, PATIENCE)
    with pytest.raises(MessagingServerUnreachable):
        await check_messaging(server.path, address, PATIENCE)


async def test_a_messaging_server_whose_store_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let = asyncio.Event()
    async with running(tmp_path) as server:
        monkeypatch.setattr(server.store, "look_up", lambda *_: let.wait())
        with pytest.raises(MessagingServerUnreachable):
            await check_messaging(server.path, SmpServer(server.face.fingerprint, (HOST,)), 0.3)
        let.set()
