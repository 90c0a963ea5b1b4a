"""A messaging server on a Unix socket in a test's own process, and clients of it that can do anything."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from onion_rdv.smp.server.face import Limits, MessagingFace
from onion_rdv.smp.server.house import House
from onion_rdv.smp.server.queue_store import QueueStore
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, Blocks, ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.commands import Ack, Command, Get, LinkData, Mode, New, Ping, QueueLink, Send, Sub
from onion_rdv.smp.wire.crypto import agree, agreed_box_key
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.hello import ClientHello, ServerHello
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.link_data import sender_id
from onion_rdv.smp.wire.replies import Ids, Msg, Ok, Pong, Reply, parse_reply
from onion_rdv.smp.wire.transmissions import Transmission, authorizer, batches, split

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from onion_rdv.smp.wire.keys import PublicKey

_PATIENCE = 20


@dataclass
class Running:
    """A server that listens."""

    face: MessagingFace
    store: QueueStore
    path: Path

    async def connect(self, version: int = 18, **settings: Any) -> Client:
        return await Client.connect(self.path, version, key_hash=self.face.fingerprint, **settings)

    async def is_well(self) -> None:
        """See that a new client is served."""
        client = await self.connect()
        assert await client.ask(Ping()) == Pong()
        await client.close()


@asynccontextmanager
async def running(
    directory: Path,
    *,
    password: bytes | None = None,
    clock: Callable[[], float] = time.time,
    store_settings: dict[str, Any] | None = None,
    **limits: Any,
) -> AsyncIterator[Running]:
    """Run a server whose state is in a directory, with these limits."""
    store = await QueueStore.open(directory / "queues.sqlite", clock=clock, **(store_settings or {}))
    house = House(store, password, clock)
    face = await MessagingFace.at_home(house, directory, Limits(**limits))
    try:
        await face.start(directory / "smp", 0o600)
        try:
            yield Running(face, store, directory / "smp")
        finally:
            await face.stop()
    finally:
        await store.close()


def tls_context(*alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


async def first_block(path: Path, *alpn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Do TLS, and take the server's hello."""
    reader, writer = await asyncio.open_unix_connection(str(path), ssl=tls_context(*alpn), server_hostname="")
    try:
        async with asyncio.timeout(_PATIENCE):
            return reader, writer, await reader.readexactly(BLOCK_SIZE)
    except (OSError, asyncio.IncompleteReadError):
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
        raise


@dataclass
class Client:
    """A connection after the hellos."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    blocks: Blocks
    version: int
    session_id: bytes
    server_key: PublicKey
    said: list[Transmission] = field(default_factory=list)

    @classmethod
    async def connect(
        cls, path: Path, version: int = 18, *, key_hash: bytes, boxed: bool = True, alpn: str = "smp/1"
    ) -> Self:
        reader, writer, block = await first_block(path, alpn)
        hello = ServerHello.decode(PlainBlocks().open(block))
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        server_key = hello.check(
            key_hash=key_hash,
            session_id=tls.get_channel_binding("tls-unique") or b"",
            tls_certificate=tls.getpeercert(binary_form=True) or b"",
            now=datetime.now(UTC),
        )
        session_key = PrivateKey(Kind.X25519, secrets.token_bytes(32))
        blocks: Blocks = PlainBlocks()
        if boxed:
            blocks = ChainedBlocks.for_client(hello.session_id, agree(session_key.raw, server_key.raw, "a test"))
        client_hello = ClientHello(version, key_hash, session_key.public if boxed else None)
        writer.write(PlainBlocks().seal(client_hello.encode()))
        return cls(reader, writer, blocks, version, hello.session_id, server_key)

    def transmission(
        self, command: Command | bytes, entity: bytes = b"", key: PrivateKey | None = None, correlation: bytes = b""
    ) -> Transmission:
        """Make a transmission, authorized where there is a key."""
        said = command if isinstance(command, bytes) else command.encode(self.version)
        made = Transmission(correlation or secrets.token_bytes(24), entity, said)
        return made if key is None else authorizer(key, self.server_key)(made, self.session_id)

    def say(self, *transmissions: Transmission) -> None:
        """Send transmissions, in as few blocks as hold them."""
        for data in batches([one.encode(self.version) for one in transmissions]):
            self.say_data(data)

    def say_data(self, data: bytes) -> None:
        """Send a block with any data in it."""
        self.writer.write(self.blocks.seal(data))

    async def hear_block(self) -> list[Transmission]:
        """Take what the next block holds."""
        async with asyncio.timeout(_PATIENCE):
            data = self.blocks.open(await self.reader.readexactly(BLOCK_SIZE))
        return [Transmission.decode(part, self.version) for part in split(data)]

    async def hear(self) -> tuple[Transmission, Reply]:
        """Take what is said next."""
        if not self.said:
            self.said = await self.hear_block()
        said = self.said.pop(0)
        return said, parse_reply(said.command, self.version)

    async def ask(
        self, command: Command | bytes, entity: bytes = b"", key: PrivateKey | None = None, correlation: bytes = b""
    ) -> Reply:
        """Send a command alone; gives its reply, which has to come next."""
        asked = self.transmission(command, entity, key, correlation)
        self.say(asked)
        said, reply = await self.hear()
        assert said.correlation_id == asked.correlation_id, reply
        return reply

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; tells whether nothing came before it."""
        async with asyncio.timeout(_PATIENCE):
            try:
                return not await self.reader.read(1)
            except (ConnectionError, ssl.SSLError):
                return True

    async def close(self) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


@dataclass
class TestQueue:
    """A queue of a client's, with its keys."""

    __test__ = False

    ids: Ids
    key: PrivateKey
    box_key: bytes

    @classmethod
    async def make(
        cls, client: Client, *, kind: Kind = Kind.X25519, mode: Mode = Mode.MESSAGING, subscribe: bool = True
    ) -> Self:
        key, dh_key = PrivateKey(kind, secrets.token_bytes(32)), PrivateKey(Kind.X25519, secrets.token_bytes(32))
        ids = await client.ask(New(key.public, dh_key.public, mode, subscribe=subscribe), key=key)
        assert isinstance(ids, Ids)
        return cls(ids, key, agreed_box_key(dh_key.raw, ids.server_key.raw, "a test"))

    def open(self, reply: Reply) -> bytes | None:
        """Read a message; None is the mark of a queue that was full."""
        assert isinstance(reply, Msg), reply
        return Delivery.open(self.box_key, reply.message_id, reply.body).body

    async def send(self, client: Client, body: bytes) -> Reply:
        return await client.ask(Send(body), self.ids.sender_id)

    async def subscribe(self, client: Client) -> Reply:
        return await client.ask(Sub(), self.ids.recipient_id, self.key)

    async def get(self, client: Client) -> Reply:
        return await client.ask(Get(), self.ids.recipient_id, self.key)

    async def acknowledge(self, client: Client, reply: Reply) -> Reply:
        assert isinstance(reply, Msg), reply
        return await client.ask(Ack(reply.message_id), self.ids.recipient_id, self.key)

    async def hear(self, client: Client) -> bytes | None:
        """Take the next message that comes without being asked for, and acknowledge it."""
        said, reply = await client.hear()
        assert (said.correlation_id, said.entity_id) == (b"", self.ids.recipient_id)
        body = self.open(reply)
        assert await self.acknowledge(client, reply) == Ok()
        return body


async def make_link(client: Client, mode: Mode, data: LinkData, link_id: bytes | None = None) -> TestQueue:
    """Make a queue with a link to it."""
    key, dh_key = (PrivateKey(Kind.X25519, secrets.token_bytes(32)) for _ in range(2))
    correlation = secrets.token_bytes(24)
    new = New(key.public, dh_key.public, mode, link=QueueLink(sender_id(correlation), data, link_id))
    ids = await client.ask(new, key=key, correlation=correlation)
    assert isinstance(ids, Ids), ids
    return TestQueue(ids, key, b"")


def narrow(client: Client) -> None:
    """Take nothing more, and let little wait on the way."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    raw: socket.socket = client.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
