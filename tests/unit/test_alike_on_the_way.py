"""Requests and replies on their way between client, SOCKS port and server: the same pieces, whatever they say."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from socks_proxy import RecordingSocks
from stores import ONION_KEY, an_entry, until

from onion_rdv.client.accept import Acceptance
from onion_rdv.client.offer import offer
from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.errors import StoreError
from onion_rdv.protocol import Limits
from onion_rdv.protocol.exchange import FETCH_PATH, REPLY_SIZE, STORE_PATH
from onion_rdv.rendezvous import web
from onion_rdv.rendezvous.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SERVER = RendezvousServer(ONION_KEY)
REQUEST_SIZE = 414
LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.example.org"


class Passage(NamedTuple):
    """One stream: the bytes of each piece that client and server gave to the system, and who ended it.

    What the client says to the SOCKS port, which is the person's own tor, is among it.
    """

    said: tuple[int, ...]
    answered: tuple[int, ...]
    ended_by: str


class Way:
    """The way from a client over a SOCKS port to a server's socket, and what goes over it in what pieces."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = path
        self._ends: list[str] = []
        self._said: dict[socket.socket, list[int]] = {}
        self._answered: dict[socket.socket, list[int]] = {}
        self.proxy = RecordingSocks([self._lead])
        for name in ("send", "sendmsg"):  # all that asyncio writes streams with
            monkeypatch.setattr(socket.socket, name, self._noting(getattr(socket.socket, name)))

    def client(self) -> RendezvousClient:
        return RendezvousClient(self.proxy.socks, SERVER, timeout=20)

    async def passages(self, count: int) -> list[Passage]:
        """Tell of all streams, of which there have to be so many, one after the other."""
        await until(lambda: len(self._ends) == count)
        pieces = zip(self._said.values(), self._answered.values(), self._ends, strict=True)
        return [Passage(tuple(said), tuple(answered), ended_by) for said, answered, ended_by in pieces]

    def _noting(self, send: Callable[..., int]) -> Callable[..., int]:
        def send_and_note(sock: socket.socket, *arguments: Any) -> int:
            sent = send(sock, *arguments)
            if sock.family == socket.AF_UNIX and sock.getsockname() == str(self._path):
                self._answered.setdefault(sock, []).append(sent)
            elif sock.family == socket.AF_INET and sock.getpeername()[1] == self.proxy.socks.port:
                self._said.setdefault(sock, []).append(sent)
            return sent

        return send_and_note

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._path)
        ended: list[str] = []

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, who: str) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            ended.append(who)
            sink.close()

        await asyncio.gather(copy(reader, there_writer, "client"), copy(there_reader, writer, "server"))
        self._ends.append(ended[0])


class SometimesBroken(SqliteStore):
    """A store that has faults when it is told to."""

    fault: Exception | None = None

    async def store(self, entry: bytes) -> Any:
        if self.fault:
            raise self.fault
        return await super().store(entry)

    async def fetch(self, link: bytes) -> bytes | None:
        if self.fault:
            raise self.fault
        return await super().fetch(link)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SometimesBroken]:
    store = await SometimesBroken.open(tmp_path / "store.db", ONION_KEY)
    yield store
    await store.close()


@pytest.fixture
async def way(store: SometimesBroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Way]:
    face = web.WebFace(store)
    await face.start(tmp_path / "socket", 0o600)
    way = Way(tmp_path / "socket", monkeypatch)
    async with way.proxy:
        yield way
    await face.stop()


async def test_all_that_people_do_is_made_of_the_same_pieces(way: Way) -> None:
    offered = await offer(
        LINK, "correct horse", SERVER, way.proxy.socks, limits=Limits(), timeout=20, step=lambda _: None
    )
    acceptance = Acceptance(offered.invite, way.proxy.socks, timeout=20, step=lambda _: None)
    assert await acceptance.open("correct horse") == LINK
    first, *others = await way.passages(3)
    assert others == [first] * 2
    assert sum(first.said[-2:]) >= REQUEST_SIZE
    assert first.answered == (REPLY_SIZE,), "the whole reply is one piece"
    assert first.ended_by == "client"


async def post(way: Way, path: str, body: bytes) -> int:
    """Make one request as the client makes it, and no other if it fails; gives the status."""
    status, _, _ = await way.client()._post(path, body, time.monotonic() + 20)
    return status


async def test_whatever_is_asked_and_answered_goes_in_the_same_pieces(way: Way, store: SometimesBroken) -> None:
    bucket_link = (await offer(LINK, "x y", SERVER, way.proxy.socks, limits=Limits(), timeout=20, step=print)).invite
    there = bucket_link.bucket_link + secrets.token_bytes(240)
    statuses = [
        await post(way, STORE_PATH, an_entry()),
        await post(way, FETCH_PATH, there),
        await post(way, FETCH_PATH, secrets.token_bytes(256)),
    ]
    for store.fault in (StoreError("the disk is full"), RuntimeError()):
        statuses += [await post(way, STORE_PATH, an_entry()), await post(way, FETCH_PATH, there)]
    assert statuses == [201, 200, 404, 503, 503, 500, 500]
    passages = await way.passages(2 + len(statuses))
    first = passages[0]
    for passage in passages[:-2]:
        assert passage == first
    for passage in passages[-2:]:  # a fault is the server's own, and it ends the stream itself after that
        assert passage[:2] == first[:2]


async def test_two_reads_of_what_nothing_was_stored_in_between_are_the_same(way: Way) -> None:
    invite = (await offer(LINK, "x y", SERVER, way.proxy.socks, limits=Limits(), timeout=20, step=print)).invite
    one, other = [await way.client().fetch(invite.bucket_link) for _ in range(2)]
    assert one == other
