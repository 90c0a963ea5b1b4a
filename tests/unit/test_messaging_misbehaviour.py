"""Clients that do not keep to SMP: each is answered as SMP says or cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smp_server import Client, TestQueue, first_block, narrow, running, tls_context
from stores import until

from onion_rdv.errors import SettingsError
from onion_rdv.smp.server import certificates
from onion_rdv.smp.server.conversation import Conversation
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, PlainBlocks
from onion_rdv.smp.wire.commands import New, Ping, Que, Send
from onion_rdv.smp.wire.hello import ClientHello, ServerHello
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import Err, Msg, Ok, Pong
from onion_rdv.smp.wire.transmissions import Transmission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from smp_server import Running

    from onion_rdv.smp.server.queues import Sent

KEY = PrivateKey(Kind.X25519, bytes(range(32)))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server
        await server.is_well()


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See that no client makes the server say anything, asyncio included."""
    caplog.set_level(logging.DEBUG, "onion_rdv.messaging")
    caplog.set_level(logging.WARNING, "asyncio")
    yield
    assert not caplog.messages


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Take what comes until the end."""
    async with asyncio.timeout(20):
        said = b""
        with suppress(ConnectionError, ssl.SSLError):
            said = await reader.read(-1)
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
        return said


# Before the hello


@pytest.mark.parametrize("garbage", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(16_384), b"\x16\x03\x01" + b"\xff" * 500])
async def test_what_is_no_tls(server: Running, garbage: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(garbage)
    writer.write_eof()
    said = await ended(reader, writer)
    assert len(said) < 20  # at most an alert of TLS
    await until(lambda: server.face.connections == 0)


async def test_old_tls_is_refused(server: Running) -> None:
    context = tls_context("smp/1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_unix_connection(str(server.path), ssl=context, server_hostname="")
    await until(lambda: server.face.connections == 0)


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_what_speaks_something_else(server: Running, alpn: tuple[str, ...]) -> None:
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)):
        await first_block(server.path, *alpn)
    await until(lambda: server.face.connections == 0)


async def test_who_never_begins_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, begin_within=0.05) as server:
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        assert await ended(reader, writer) == b""
        await until(lambda: server.face.connections == 0)


async def test_a_hello_that_never_comes(tmp_path: Path) -> None:
    async with running(tmp_path, begin_within=1) as server:
        reader, writer, hello = await first_block(server.path, "smp/1")
        assert ServerHello.decode(PlainBlocks().open(hello)).certificates
        assert await ended(reader, writer) == b""
        reader, writer, _ = await first_block(server.path, "smp/1")
        writer.write(bytes(BLOCK_SIZE - 1))  # nor one that never ends
        assert await ended(reader, writer) == b""
        await until(lambda: server.face.connections == 0)


def hellos(server: Running) -> dict[str, bytes]:
    plain, ours = PlainBlocks(), server.face.fingerprint
    good = ClientHello(18, ours, KEY.public).encode()
    return {
        "another server": plain.seal(ClientHello(18, bytes(32), KEY.public).encode()),
        "too old": plain.seal(b"\0\x0e" + ClientHello(15, ours, KEY.public).encode()[2:]),
        "too new": plain.seal(b"\0\x13" + good[2:]),
        "more behind it": plain.seal(good + b"x"),
        "cut short": plain.seal(good[:-1]),
        "another sort of key": plain.seal(good.replace(b"\x2b\x65\x6e", b"\x2b\x65\x70")),
        "a key of low order": plain.seal(good.replace(KEY.public.raw, bytes(32))),
        "nothing": plain.seal(b""),
        "no block": b"\xff" * BLOCK_SIZE,
        "a half": plain.seal(good)[: BLOCK_SIZE // 2],
    }


@pytest.mark.parametrize(
    "which",
    [
        "another server",
        "too old",
        "too new",
        "more behind it",
        "cut short",
        "another sort of key",
        "a key of low order",
        "nothing",
        "no block",
        "a half",
    ],
)
async def test_a_wrong_hello_ends_it_without_a_word(server: Running, which: str) -> None:
    reader, writer, _ = await first_block(server.path, "smp/1")
    writer.write(hellos(server)[which])
    if which == "a half":
        writer.close()
    assert await ended(reader, writer) == b""
    await until(lambda: server.face.connections == 0)


# Blocks


async def test_a_block_that_does_not_open_ends_the_connection(server: Running) -> None:
    client = await server.connect()
    client.writer.write(secrets.token_bytes(BLOCK_SIZE))
    assert await client.is_closed()
    await client.close()


async def test_a_block_that_comes_twice_ends_the_connection(server: Running) -> None:
    client = await server.connect()
    block = client.blocks.seal(b"\x01\x00\x1f\x00\x18" + bytes(24) + b"\x00PING")
    client.writer.write(block)
    assert (await client.hear())[1] == Pong()
    client.writer.write(block)
    assert await client.is_closed()
    await client.close()


@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x02" + b"\0\x1f\0\x18" + bytes(24) + b"\0PING",
        b"\x01\xff\xffxx",
        b"\x01\0\x1f\0\x18" + bytes(24) + b"\0PINGmore",
    ],
)
async def test_malformed_data_is_said_and_the_connection_stays(server: Running, data: bytes, *, boxed: bool) -> None:
    client = await server.connect(boxed=boxed)
    client.say_data(data)
    said, reply = await client.hear()
    assert (said.correlation_id, said.entity_id, reply) == (b"", b"", Err("BLOCK"))
    assert await client.ask(Ping()) == Pong()
    await client.close()


async def test_a_plain_block_of_wrong_form_is_said_and_the_connection_stays(server: Running) -> None:
    client = await server.connect(boxed=False)
    client.writer.write(b"\xff" * BLOCK_SIZE)
    assert (await client.hear())[1] == Err("BLOCK")
    assert await client.ask(Ping()) == Pong()
    await client.close()


async def test_one_malformed_transmission_among_others(server: Running) -> None:
    client = await server.connect()
    good, bad = client.transmission(Ping()), Transmission(bytes(24), b"", b"PING", b"x" * 64)
    encoded = [one.encode(18) for one in (good, bad, good)]
    encoded[1] = b"\x05" + encoded[1][1:]
    client.say_data(b"\x03" + b"".join(len(one).to_bytes(2, "big") + one for one in encoded))
    assert [(await client.hear())[1] for _ in range(3)] == [Pong(), Err("BLOCK"), Pong()]
    await client.close()


async def test_blocks_in_pieces_and_many_at_once(server: Running) -> None:
    client = await server.connect()
    asked = [client.transmission(Ping()) for _ in range(50)]
    blocks = b"".join(
        client.blocks.seal(b"\x01" + len(one.encode(18)).to_bytes(2, "big") + one.encode(18)) for one in asked
    )
    for start in range(0, len(blocks), 9_999):
        client.writer.write(blocks[start : start + 9_999])
        await asyncio.sleep(0)
    for one in asked:
        said, reply = await client.hear()
        assert (said.correlation_id, reply) == (one.correlation_id, Pong())
    await client.close()


async def test_a_block_cut_short_by_the_end(server: Running) -> None:
    client = await server.connect()
    queue = await TestQueue.make(client, subscribe=False)
    client.say(client.transmission(Send(b"whole"), queue.ids.sender_id))
    client.writer.write(client.blocks.seal(b"x")[: BLOCK_SIZE // 2])
    client.writer.close()
    await until(lambda: server.face.connections == 0)
    other = await server.connect()
    assert queue.open(await queue.get(other)) == b"whole"
    await other.close()
    with suppress(OSError):
        await client.writer.wait_closed()


class Bystander:
    """Somebody else's conversation."""

    def __init__(self, server: Running) -> None:
        self._server = server

    async def __aenter__(self) -> None:
        self._client = await self._server.connect()
        self._queue = await TestQueue.make(self._client)

    async def __aexit__(self, *_: object) -> None:
        sender = await self._server.connect()
        assert await self._queue.send(sender, b"as if nothing had been") == Ok()
        assert await self._queue.hear(self._client) == b"as if nothing had been"
        await sender.close()
        await self._client.close()


COMMANDS = st.sampled_from(
    [
        b"PING",
        b"NEW ",
        b"SUB",
        b"KEY ",
        b"SKEY ",
        b"LGET",
        b"LKEY ",
        b"LSET ",
        b"LDEL",
        b"SEND ",
        b"ACK ",
        b"GET",
        b"QUE",
    ]
)
TRANSMISSIONS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda authorization, correlation, entity, command, rest: b"".join(
            [
                bytes([len(authorization)]) + authorization + (b"0" if authorization else b""),
                bytes([len(correlation)]) + correlation + bytes([len(entity)]) + entity + command + rest,
            ]
        ),
        st.one_of(st.just(b""), st.binary(min_size=64, max_size=64), st.binary(min_size=80, max_size=80)),
        st.one_of(st.just(b""), st.binary(min_size=24, max_size=24)),
        st.one_of(st.just(b""), st.binary(min_size=24, max_size=24)),
        COMMANDS,
        st.binary(max_size=200),
    ),
)
DATA = st.one_of(
    st.binary(max_size=400),
    st.builds(
        lambda parts: bytes([len(parts)]) + b"".join(len(part).to_bytes(2, "big") + part for part in parts),
        st.lists(TRANSMISSIONS, min_size=1, max_size=8),
    ),
)


def test_no_bytes_in_a_block_do_more_than_get_an_answer(tmp_path: Path) -> None:
    """Whatever a client says, every part of it gets a reply, and the connection goes on."""
    with asyncio.Runner() as runner:
        context = running(tmp_path)
        server = runner.run(context.__aenter__())
        bystander = Bystander(server)
        runner.run(bystander.__aenter__())
        people = {version: runner.run(server.connect(version)) for version in (15, 18)}

        async def say(client: Client, data: bytes) -> None:
            client.say_data(data)
            end = client.transmission(Ping())
            client.say(end)
            while (await client.hear())[0].correlation_id != end.correlation_id:
                pass

        @given(version=st.sampled_from([15, 18]), data=DATA)
        @settings(max_examples=300, deadline=None)
        def check(version: int, data: bytes) -> None:
            runner.run(say(people[version], data))

        check()
        for client in people.values():
            runner.run(client.close())
        runner.run(bystander.__aexit__())
        runner.run(context.__aexit__(None, None, None))


@settings(max_examples=50, deadline=None)
@given(garbage=st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=3), after=st.integers(0, 2))
def test_no_bytes_on_the_connection_disturb_others(garbage: list[bytes], after: int) -> None:
    """Garbage in place of TLS, of the hello, or of the first block."""

    async def check(directory: Path) -> None:
        async with running(directory) as server, Bystander(server):
            if after == 0:
                reader, writer = await asyncio.open_unix_connection(str(server.path))
            elif after == 1:
                reader, writer, _ = await first_block(server.path, "smp/1")
            else:
                client = await server.connect()
                reader, writer = client.reader, client.writer
            for data in garbage:
                writer.write(data)
            if after == 0:
                writer.write_eof()
            else:
                writer.write(bytes(BLOCK_SIZE))
            await ended(reader, writer)

    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(check(Path(name)))


# Too many, too slow, too long


async def test_one_connection_too_many_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections=1) as server:  # and one for the server's own process, which this is
        two = [await server.connect() for _ in range(2)]
        for _ in range(3):
            with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
                await server.connect()
        for client in two:
            assert await client.ask(Ping()) == Pong()
        await two.pop().close()
        await until(lambda: server.face.connections == 1)
        two.append(await server.connect())
        assert await two[1].ask(Ping()) == Pong()
        for client in two:
            await client.close()


async def test_who_takes_no_answers_is_not_read_from_and_then_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, patience=1) as server, Bystander(server):
        client = await server.connect()
        narrow(client)
        sent = 0
        async with asyncio.timeout(20):
            while not client.writer.is_closing() and server.face.connections > 1:
                client.say(client.transmission(Ping()))
                sent += 1
                if client.writer.transport.get_write_buffer_size():
                    await asyncio.sleep(0.01)
        assert sent * BLOCK_SIZE < 16 * 2**20  # the rest waited at the client
        await client.close()


async def test_a_subscriber_that_reads_slowly_gets_it_all_in_the_end(tmp_path: Path) -> None:
    count = 60
    async with running(tmp_path) as server, Bystander(server):
        client, sender = await server.connect(), await server.connect()
        queues = [await TestQueue.make(client) for _ in range(count)]
        narrow(client)
        for number, queue in enumerate(queues):
            assert await queue.send(sender, str(number).encode()) == Ok()
        held = server.face
        assert held.connections == 3
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard: dict[bytes, Any] = {}
        for _ in queues:
            said, reply = await client.hear()
            assert isinstance(reply, Msg)
            heard[said.entity_id] = reply
        for number, queue in enumerate(queues):
            assert queue.open(heard[queue.ids.recipient_id]) == str(number).encode()
            assert await queue.acknowledge(client, heard[queue.ids.recipient_id]) == Ok()
        await client.close()
        await sender.close()


async def test_a_subscriber_that_never_reads_is_cut_off_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path, patience=0.3) as server, Bystander(server):
        client, sender = await server.connect(), await server.connect()
        queues = [await TestQueue.make(client) for _ in range(60)]
        narrow(client)
        for queue in queues:
            assert await queue.send(sender, b"not lost") == Ok()
        await until(lambda: server.face.connections == 2)
        await client.close()
        for queue in queues:
            assert queue.open(await queue.get(sender)) == b"not lost"
        await sender.close()


async def test_idle_connections_end_unless_they_wait_for_something(tmp_path: Path) -> None:
    async with running(tmp_path, look_round=0.02) as server:
        idle, waiting = await server.connect(), await server.connect()
        await TestQueue.make(waiting)
        assert await idle.ask(Ping()) == Pong()
        for connection in server.face._connections:
            connection.active_at = -1e9
        assert await idle.is_closed()
        await until(lambda: server.face.connections == 1)
        await asyncio.sleep(0.1)
        assert await waiting.ask(Ping()) == Pong()
        for client in (idle, waiting):
            await client.close()


async def test_the_leaf_is_renewed_while_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_LEAF_LIFETIME", certificates._LEAF_RENEWAL + timedelta(days=1))
    async with running(tmp_path, look_round=0.02) as server:
        before = (tmp_path / certificates.LEAF_FILE).read_bytes()
        server.face._leaf.renew_at = datetime.now(UTC)
        monkeypatch.setattr(certificates, "_LEAF_LIFETIME", timedelta(days=200))
        load = certificates.load_leaf

        def renewing(directory: Path, identity: certificates.Identity, now: datetime) -> certificates.Leaf:
            return load(directory, identity, now + timedelta(days=2))

        monkeypatch.setattr("onion_rdv.smp.server.face.load_leaf", renewing)
        await until(lambda: (tmp_path / certificates.LEAF_FILE).read_bytes() != before)
        await until(lambda: server.face._leaf.renew_at > datetime.now(UTC) + timedelta(days=100))
        client = await server.connect()
        tls: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
        assert tls.getpeercert(binary_form=True) == server.face._leaf.certificates[0]
        await client.close()


async def test_a_leaf_that_cannot_be_renewed_is_said_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise SettingsError("for a test", hint="none")

    async with running(tmp_path, look_round=0.02) as server:
        monkeypatch.setattr("onion_rdv.smp.server.face.load_leaf", fail)
        server.face._leaf.renew_at = datetime.now(UTC)
        await until(lambda: bool(caplog.messages))
        assert "for a test; none" in caplog.messages[0]
        await server.is_well()
    caplog.clear()


async def test_little_is_remembered_of_who_shows_many_keys(tmp_path: Path) -> None:
    async with running(tmp_path, password=b"unknown to them") as server:
        client = await server.connect()
        for _ in range(300):
            key = PrivateKey(Kind.X25519, secrets.token_bytes(32))
            assert await client.ask(New(key.public, key.public), key=key) == Err("AUTH")
        (connection,) = server.face._connections
        remembered = connection._conversation._queues._doorkeeper._box_keys
        assert 0 < len(remembered) <= 64
        assert await client.ask(New(key.public, key.public, password=b"unknown to them"), key=key) != Err("AUTH")
        await client.close()


# The end


async def test_stopping_answers_what_has_come_and_closes(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        client, idle = await server.connect(), await server.connect()
        arriving = await asyncio.open_unix_connection(str(server.path))
        queue = await TestQueue.make(client, subscribe=False)
        assert await idle.ask(Ping()) == Pong()
        asked = client.transmission(Send(b"on its way"), queue.ids.sender_id)
        client.say(asked)
        await asyncio.sleep(0.05)
        started = asyncio.get_running_loop().time()
        await server.face.stop(patience=120)
        assert asyncio.get_running_loop().time() - started < 60
        assert server.face.connections == 0
        assert (await client.hear())[1] == Ok()
        for one in (client, idle):
            assert await one.is_closed()
            await one.close()
        assert await ended(*arriving) == b""
        assert not server.path.exists()
        await server.face.stop()


async def test_stopping_sends_the_answers_to_what_is_being_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as server:
        client = await server.connect()
        queue = await TestQueue.make(client, subscribe=False)
        send, sending, may_go_on = server.store.send, asyncio.Event(), asyncio.Event()

        async def slow(*what: Any) -> Sent:
            sending.set()
            await may_go_on.wait()
            return await send(*what)

        monkeypatch.setattr(server.store, "send", slow)
        client.say(client.transmission(Send(b"under way"), queue.ids.sender_id))
        await sending.wait()
        stopping = asyncio.create_task(server.face.stop())
        await asyncio.sleep(0)
        may_go_on.set()
        assert (await client.hear())[1] == Ok()
        await stopping
        assert await client.is_closed()
        await client.close()


async def test_a_client_that_vanishes_in_the_middle_of_everything(server: Running) -> None:
    for _ in range(20):
        client = await server.connect()
        queue = await TestQueue.make(client)
        client.say(*(client.transmission(Send(b"x" * 100), queue.ids.sender_id) for _ in range(50)))
        client.say(client.transmission(Que(), queue.ids.recipient_id, queue.key))
        raw: socket.socket = client.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.close()
    await until(lambda: server.face.connections == 0)


async def test_a_fault_inside_is_one_connections(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_conversation: Conversation, _data: bytes, _say: object) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("secret")

    one, other = await server.connect(), await server.connect()
    with monkeypatch.context() as patch:
        patch.setattr(Conversation, "answer", broken)
        one.say(one.transmission(Ping()))
        assert await one.is_closed()
    assert await other.ask(Ping()) == Pong()
    assert caplog.messages == ["a connection met a fault inside (RuntimeError)"]
    caplog.clear()
    for client in (one, other):
        await client.close()
