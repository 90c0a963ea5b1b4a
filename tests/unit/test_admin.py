"""The admin and the metrics socket: what they say, who may ask, and how errors arrive."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import pytest
from aiohttp import web
from stores import ONION_KEY, START, Clock, an_entry

from onion_rdv.errors import NoServerHere, NotItsOperator, RdvError, ReplyLost, ServerBusy, SettingsError, StoreError
from onion_rdv.rendezvous.admin.client import AdminClient
from onion_rdv.rendezvous.admin.face import AdminFace, Routes
from onion_rdv.rendezvous.admin.status import STATUS_PATH, Observer, Status, read_status
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.tor.onion_service import EphemeralService, OnionService, ServiceSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.tor.control import Control

Answering = Callable[[Routes], Awaitable[AdminClient]]

NOBODY = 65534
SERVER = "a" * 56 + ".onion"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY, clock=Clock())
    yield store
    await store.close()


@pytest.fixture
def observer(store: SqliteStore, tmp_path: Path) -> Observer:
    """Observe a server whose onion service is not published yet."""
    way = EphemeralService(ServiceSettings(tmp_path / "web.socket"), tmp_path / "key")
    onion = OnionService(way, cast("Callable[[], Awaitable[Control]]", None))
    return Observer(SERVER, onion, store, DEFAULT_LIFETIME)


@pytest.fixture
async def answering(tmp_path: Path) -> AsyncIterator[Answering]:
    """Serve routes on a socket, and give a client of it."""
    faces: list[AdminFace] = []

    async def answer(routes: Routes) -> AdminClient:
        path = tmp_path / f"{len(faces)}.socket"
        face = AdminFace(routes)
        faces.append(face)
        await face.start(path, 0o600)
        return AdminClient(path)

    yield answer
    for face in faces:
        await face.stop()


async def test_the_state_of_an_empty_server(observer: Observer, answering: Answering) -> None:
    client = await answering(observer.routes())
    status = read_status(await client.ask("GET", STATUS_PATH))
    assert status == Status(SERVER, False, "publishing", None, 0, 0, 0, 0, 0, 2**20, None)


async def test_sums_are_rounded_so_that_none_shows_a_single_request(
    observer: Observer, store: SqliteStore, answering: Answering
) -> None:
    client = await answering(observer.routes())
    await asyncio.gather(*(store.store(an_entry()) for _ in range(100)))
    status = read_status(await client.ask("GET", STATUS_PATH))
    assert (status.open_buckets, status.buckets, status.opened_buckets) == (1, 2, 2)
    assert status.oldest_expires_at == START + DEFAULT_LIFETIME + 2800  # the next whole hour
    assert status.stored_entries in {0, 64, 128}
    await store.store(an_entry())
    assert read_status(await client.ask("GET", STATUS_PATH)) == status


async def test_errors_arrive_as_what_they_are(answering: Answering, caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(request: web.Request) -> web.Response:
        raise SettingsError(f"no {request.match_info['name']}", hint="do without")

    async def fail(_: web.Request) -> web.Response:
        raise LookupError("a secret")

    client = await answering({("DELETE", "/things/{name}"): refuse, ("POST", "/fail"): fail})
    with pytest.raises(SettingsError) as refused:
        await client.ask("DELETE", "/things/this")
    assert (refused.value.detail, refused.value.hint) == ("no this", "do without")
    with caplog.at_level(logging.DEBUG), pytest.raises(RdvError, match="LookupError") as failed:
        await client.ask("POST", "/fail", {"name": "value"})
    assert type(failed.value) is RdvError
    assert "secret" not in caplog.text + str(failed.value)
    for method, path in (("GET", "/fail"), ("GET", "/elsewhere")):
        with pytest.raises(ServerBusy, match="does not know"):
            await client.ask(method, path)


async def test_a_server_of_another_mind(answering: Answering) -> None:
    async def nonsense(_: web.Request) -> web.Response:
        return web.json_response({"kind": "inspect", "detail": "odd", "hint": ""}, status=409)

    client = await answering({("GET", "/"): nonsense})
    with pytest.raises(RdvError, match="odd"):
        await client.ask("GET", "/")


async def test_a_reply_that_breaks_off(answering: Answering) -> None:
    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a part")
        assert request.transport is not None
        request.transport.abort()
        return response

    client = await answering({("GET", "/"): begin})
    reading = client.read("/")
    assert await anext(reading) == b"a part"
    with pytest.raises(ReplyLost):
        await anext(reading)


async def test_who_asks_no_more_waits_no_more(tmp_path: Path) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_unix_server(say_nothing, tmp_path / "socket"):
        asking = asyncio.create_task(AdminClient(tmp_path / "socket").ask("GET", STATUS_PATH))
        await asked.wait()
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        await asyncio.wait_for(gone.wait(), 30)  # half as long as an answer would be waited for


async def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with pytest.raises(NoServerHere, match=f"nobody listens at {path}"):
        await AdminClient(path).ask("GET", STATUS_PATH)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(NoServerHere, match="nobody listens"):
        await AdminClient(path).ask("GET", STATUS_PATH)


async def test_only_its_user_and_root_may_ask(observer: Observer, tmp_path: Path) -> None:
    face = AdminFace(observer.routes())
    path = tmp_path / "socket"
    await face.start(path, 0o600)
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0)  # for whom the owner is we; root is nobody for the moment
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            with pytest.raises(NotItsOperator, match=str(path)):
                await AdminClient(path).ask("GET", STATUS_PATH)
        finally:
            os.seteuid(user)
    finally:
        await face.stop()
    assert not path.exists()


async def test_a_store_that_fails_says_so_at_the_other_end(answering: Answering) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise StoreError("no space", hint="free some")

    client = await answering({("GET", STATUS_PATH): fail})
    with pytest.raises(StoreError, match="no space"):
        await client.ask("GET", STATUS_PATH)
