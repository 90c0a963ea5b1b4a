"""Who comes in the last turns of the event loop before a server stops: either accepted and served, or left alone.

Both servers listen here on a socket that somebody else keeps, as systemd does, so that it can be seen who was not
accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY

from onion_rdv.protocol.exchange import Problem, problem_reply
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.smp.server.face import MessagingFace
from onion_rdv.smp.server.house import House
from onion_rdv.smp.server.queue_store import QueueStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TURNS = range(8)
"""Turns of the loop between a connect and a stop: accepted in the second, and served two or three later."""

FETCH = b"POST /v1/fetch HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n" + bytes(256)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen, as systemd does for a server."""
    with socket.socket(socket.AF_UNIX) as kept:
        kept.bind(str(tmp_path / "kept"))
        kept.listen()
        kept.setblocking(False)
        yield kept


@asynccontextmanager
async def stopped_after(
    turns: int, face: WebFace | MessagingFace, kept: socket.socket
) -> AsyncIterator[tuple[socket.socket, bool]]:
    """Connect, send a fetch, let so many turns pass, and stop; gives the connection, and whether it still waits."""
    await face.start_on(kept.dup())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(kept.getsockname())
        client.setblocking(False)
        client.sendall(FETCH)
        for _ in range(turns):
            await asyncio.sleep(0)
        with warnings.catch_warnings(record=True) as warned:
            await face.stop()
            for _ in TURNS:
                await asyncio.sleep(0)
            assert face.connections == 0
            gc.collect()
        assert not warned
        waiting = None
        with contextlib.suppress(BlockingIOError):
            waiting, _ = kept.accept()
        yield client, waiting is not None
        if waiting is not None:
            waiting.close()


async def heard(client: socket.socket) -> bytes:
    """Hear all there is until the server closes."""
    said = b""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
                said += data
    return said


async def test_a_request_is_answered_or_left_for_the_next_start(tmp_path: Path, kept: socket.socket) -> None:
    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY)
    left = []
    for turns in TURNS:
        async with stopped_after(turns, WebFace(store), kept) as (client, waits):
            left.append(waits)
            if not waits:
                assert await heard(client) == problem_reply(Problem.BUCKET_UNKNOWN), turns
    await store.close()
    assert left[0]
    assert not left[-1]


async def test_a_messaging_connection_is_closed_or_left_for_the_next_start(
    tmp_path: Path, kept: socket.socket
) -> None:
    store = await QueueStore.open(tmp_path / "queues.sqlite")
    left = []
    for turns in TURNS:
        face = await MessagingFace.at_home(House(store, None), tmp_path)
        async with stopped_after(turns, face, kept) as (client, waits):
            left.append(waits)
            if not waits:
                assert await heard(client) == b"", turns
    await store.close()
    assert left[0]
    assert not left[-1]
