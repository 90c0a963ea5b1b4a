"""Who asks again and again does not hold up who asks for the first time."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from stores import until
from test_web import Client, SlowStore, post

from onion_rdv.rendezvous.turns import IN_A_ROUND, Turns
from onion_rdv.rendezvous.web import WebFace

if TYPE_CHECKING:
    from pathlib import Path


async def test_so_many_are_served_in_a_round_in_their_order() -> None:
    turns = Turns(asyncio.get_running_loop(), 3)
    served: list[int] = []
    for number in range(10):
        turns.take(partial(served.append, number))
    for _ in range(12):
        before = len(served)
        await asyncio.sleep(0)
        assert len(served) - before <= 3
    assert served == list(range(10))
    # Who comes when nobody is waiting does not wait.
    for _ in range(3):
        await asyncio.sleep(0)
    for number in range(3):
        turns.take(partial(served.append, number))
    assert served[10:] == [0, 1, 2]


async def test_who_takes_another_turn_in_one_waits_behind_the_others() -> None:
    turns = Turns(asyncio.get_running_loop(), 2)
    served: list[str] = []

    def greedy() -> None:
        served.append("greedy")
        if len(served) < 20:
            turns.take(greedy)

    turns.take(greedy)
    turns.take(partial(served.append, "other"))
    await until(lambda: len(served) >= 20)
    assert served.index("other") == 3


async def test_who_goes_away_takes_no_turn() -> None:
    turns = Turns(asyncio.get_running_loop(), 1)
    served: list[int] = []
    waiting = [partial(served.append, number) for number in range(4)]
    for turn in waiting:
        turns.take(turn)
    turns.leave(waiting[1])
    turns.leave(waiting[2])
    turns.leave(waiting[0])  # which it had
    await asyncio.sleep(0)
    assert served == [0, 3]


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
