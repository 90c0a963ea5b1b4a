"""Who asks again and again does not hold up who asks for the first time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from stores import until
from test_web import Client, SlowStore, post

from onion_rdv.rendezvous.turns import IN_A_ROUND, Turns
from onion_rdv.rendezvous.web import WebFace

if TYPE_CHECKING:
    from pathlib import Path


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_so_many_are_served_in_a_round_in_their_order() -> None:
    turns = Turns(asyncio.get_running_loop(), 3)
    served: list[int] = []

    async def ask(number: int) -> None:
        await turns.take()
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(ask(number))
        for _ in range(12):
            before = len(served)
            await rounds(1)
            assert len(served) - before <= 3
    assert served == list(range(10))
    # Who comes when nobody is waiting does not wait.
    await rounds(3)
    for _ in range(3):
        with pytest.raises(StopIteration):
            turns.take().send(None)


async def test_who_goes_away_takes_no_turn() -> None:
    turns = Turns(asyncio.get_running_loop(), 1)
    await turns.take()
    waiting = [asyncio.ensure_future(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    async with asyncio.timeout(5):
        await waiting[2]
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*waiting)


class CountingStore(SlowStore):
    """Answers at once, and knows in which order it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[bytes] = []

    async def fetch(self, link: bytes) -> bytes | None:
        self.fetched.append(link)
        return None


async def test_a_first_request_passes_those_who_sent_many_at_once(tmp_path: Path) -> None:
    store = CountingStore()
    face = WebFace(store)
    await face.start(tmp_path / "web", 0o600)
    async with contextlib.AsyncExitStack() as connections:
        greedy = [await connections.enter_async_context(Client(tmp_path / "web")) for _ in range(200)]
        newcomer = await connections.enter_async_context(Client(tmp_path / "web"))
        for client in greedy:
            client.say(post() * 50)
        await until(lambda: len(store.fetched) > len(greedy))
        before = len(store.fetched)
        newcomer.say(post(body=b"n" * 256))
        await newcomer.reply()
        # It takes a few rounds of the event loop to hear and answer anybody; the 200 would be served in each.
        assert store.fetched[before:].index(b"n" * 16) < 6 * IN_A_ROUND
        for client in greedy:
            client.writer.transport.abort()
    await face.stop()
