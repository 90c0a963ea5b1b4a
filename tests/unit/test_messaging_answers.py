"""What one block asks a messaging server for: all of it is answered, in order, and no more than a client takes."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from smp_server import Client, TestQueue, make_link, narrow, running
from stores import until

from onion_rdv.errors import StoreError
from onion_rdv.smp.server import connection
from onion_rdv.smp.server.block_stream import BlockStream
from onion_rdv.smp.server.queue_store import QueueStore
from onion_rdv.smp.wire.commands import Ack, Get, LinkData, LinkGet, LinkKey, Mode, New, Ping, Que, Sub
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import End, Lnk, Msg, Ok, Pong, Reply, Sok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from smp_server import Running

    from onion_rdv.smp.server.queues import Message, Queue
    from onion_rdv.smp.wire.transmissions import Transmission

    Asking = Callable[[Client], Awaitable[list[Transmission]]]

MOST_UNSENT = 256 * 1024
"""Bytes that the server may keep for a client that takes nothing."""

MOST_UNREAD = 128 * 1024
"""Bytes that it may keep of what a client sends that it does not answer yet."""

BODY = bytes(16_000)
DATA = LinkData(bytes(2048), bytes(13_824))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server


async def full_queue(client: Client, messages: int = 1) -> TestQueue:
    """Make a queue in which messages wait."""
    queue = await TestQueue.make(client, subscribe=False)
    for _ in range(messages):
        assert await queue.send(client, BODY) == Ok()
    return queue


async def link_gets(client: Client) -> list[Transmission]:
    queue = await make_link(client, Mode.CONTACT, DATA, secrets.token_bytes(24))
    assert queue.ids.link_id is not None
    return [client.transmission(LinkGet(), queue.ids.link_id) for _ in range(255)]


async def link_keys(client: Client) -> list[Transmission]:
    queue = await make_link(client, Mode.MESSAGING, DATA)
    assert queue.ids.link_id is not None
    key = PrivateKey(Kind.X25519, secrets.token_bytes(32))
    return [client.transmission(LinkKey(key.public), queue.ids.link_id, key) for _ in range(255)]


async def gets(client: Client) -> list[Transmission]:
    queue = await full_queue(client)
    return [client.transmission(Get(), queue.ids.recipient_id, queue.key) for _ in range(255)]


async def subscriptions(client: Client) -> list[Transmission]:
    queues = [await full_queue(client) for _ in range(60)]
    return [client.transmission(Sub(), queue.ids.recipient_id, queue.key) for queue in queues]


async def acknowledgements(client: Client) -> list[Transmission]:
    queues = [await full_queue(client, 2) for _ in range(60)]
    for queue in queues:
        assert await queue.subscribe(client) == Sok()
        queue.open((await client.hear())[1])
    return [client.transmission(Ack(b""), queue.ids.recipient_id, queue.key) for queue in queues]


def below(stream: BlockStream) -> Any:
    """Give what does TLS for a stream."""
    return stream._transport._ssl_protocol  # type: ignore[attr-defined]


def unsent(stream: BlockStream) -> int:
    """Count what is kept for the other side, in TLS and below it."""
    return int(stream._transport.get_write_buffer_size() + below(stream)._transport.get_write_buffer_size())


def unread(stream: BlockStream) -> int:
    """Count what the other side has sent and nobody has looked at."""
    return int(len(stream._received) + below(stream)._incoming.pending)


@pytest.mark.parametrize(
    ("ask", "large"),
    [(link_gets, Lnk), (link_keys, Lnk), (gets, Msg), (subscriptions, Msg), (acknowledgements, Msg)],
    ids=["LGET", "LKEY", "GET", "SUB", "ACK"],
)
async def test_little_is_kept_for_who_asks_for_much_and_takes_it_later(
    server: Running, ask: Asking, large: type[Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await server.connect()
    asked = await ask(client)
    (stream,) = server.face._streams.values()
    write, most = BlockStream.write, 0

    def observed(this: BlockStream, block: bytes) -> None:
        nonlocal most
        write(this, block)
        most = max(most, unsent(this))

    monkeypatch.setattr(BlockStream, "write", observed)
    narrow(client)
    client.say(*asked)
    await until(lambda: stream.is_congested)
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    replies: list[bytes] = []
    count = 0
    while len(replies) < len(asked) or count < len(asked):
        said, reply = await client.hear()
        count += isinstance(reply, large)
        if said.correlation_id:
            replies.append(said.correlation_id)
    assert replies == [one.correlation_id for one in asked]
    assert most < MOST_UNSENT
    assert await client.ask(Ping()) == Pong()
    await client.close()


async def test_little_is_kept_of_what_is_sent_meanwhile(server: Running) -> None:
    client = await server.connect()
    asked = await link_gets(client)
    (stream,) = server.face._streams.values()
    narrow(client)
    for _ in range(100):
        client.say(*asked)
    await until(lambda: stream.is_congested and not below(stream)._transport.is_reading())
    assert unread(stream) < MOST_UNREAD
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for one in asked * 2:
        assert (await client.hear())[0].correlation_id == one.correlation_id
    await client.close()


async def test_who_takes_nothing_in_the_middle_of_the_answers_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, patience=0.3) as server:
        client = await server.connect()
        asked = await link_gets(client)
        narrow(client)
        client.say(*asked)
        await until(lambda: server.face.connections == 0)
        await client.close()
        await server.is_well()


async def test_what_comes_meanwhile_is_said_behind_the_answers(server: Running) -> None:
    client, other = await server.connect(), await server.connect()
    queue, taken = [await TestQueue.make(other, subscribe=False) for _ in range(2)]
    much = await link_gets(other)
    narrow(client)
    subscribing = [client.transmission(Sub(), one.ids.recipient_id, one.key) for one in (queue, taken)]
    asked = [*subscribing, *(client.transmission(LinkGet(), one.entity_id) for one in much[:100])]
    client.say(*asked)
    stream = next(iter(server.face._streams.values()))
    await until(lambda: stream.is_congested)
    assert await queue.send(other, b"meanwhile") == Ok()
    assert await taken.subscribe(other) == Sok()
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for one in asked:
        said, _ = await client.hear()
        assert said.correlation_id == one.correlation_id
    said, reply = await client.hear()
    assert (said.entity_id, reply) == (taken.ids.recipient_id, End())
    assert await queue.hear(client) == b"meanwhile"
    for person in (client, other):
        await person.close()


async def test_a_subscription_that_ends_before_it_is_answered_ends_behind_its_answer(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, other = await server.connect(), await server.connect()
    queue = await TestQueue.make(other, subscribe=False)
    look, looking, may_go_on = server.store.first, asyncio.Event(), asyncio.Event()

    async def slow_at_first(_queue: Queue) -> Message | None:
        if not looking.is_set():
            looking.set()
            await may_go_on.wait()
        return await look(_queue)

    monkeypatch.setattr(server.store, "first", slow_at_first)
    asked = client.transmission(Sub(), queue.ids.recipient_id, queue.key)
    client.say(asked)
    await looking.wait()
    assert await queue.subscribe(other) == Sok()
    await asyncio.sleep(0)  # what is said without being asked is said then
    may_go_on.set()
    said, reply = await client.hear()
    assert (said.correlation_id, reply) == (asked.correlation_id, Sok())
    assert (await client.hear())[1] == End()
    for person in (client, other):
        await person.close()


async def test_messages_of_a_block_of_subscriptions_come_when_the_store_can_be_read_again(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await asyncio.sleep(0)
        raise StoreError("for a test")

    monkeypatch.setattr(connection, "_TRY_AGAIN", 0.01)
    client = await server.connect()
    queues = [await full_queue(client) for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(QueueStore, "first", fail)
        client.say(*(client.transmission(Sub(), one.ids.recipient_id, one.key) for one in queues))
        assert [(await client.hear())[1] for _ in queues] == [Sok()] * 3
        assert await client.ask(Ping()) == Pong()
    said = [await client.hear() for _ in queues]
    assert {one.entity_id for one, _ in said} == {one.ids.recipient_id for one in queues}
    assert all(isinstance(reply, Msg) for _, reply in said)
    await client.close()


async def test_small_answers_share_blocks(server: Running) -> None:
    client = await server.connect()
    queues = [await TestQueue.make(client, subscribe=False) for _ in range(60)]

    async def blocks(asked: list[Transmission]) -> int:
        client.say(*asked)
        heard: list[bytes] = []
        count = 0
        while len(heard) < len(asked):
            heard += [one.correlation_id for one in await client.hear_block()]
            count += 1
        assert heard == [one.correlation_id for one in asked]
        return count

    subscribing = [client.transmission(Sub(), one.ids.recipient_id, one.key) for one in queues]
    looking = [client.transmission(Que(), one.ids.recipient_id, one.key) for one in queues]
    pings = [client.transmission(Ping()) for _ in range(20)]
    assert await blocks([*pings, *subscribing]) == 1
    assert await blocks([*pings, *looking]) == 1
    keys = [PrivateKey(Kind.X25519, secrets.token_bytes(32)) for _ in range(40)]
    made = [client.transmission(New(key.public, key.public), key=key) for key in keys]
    assert await blocks([*pings, *made]) == 1
    await client.close()
