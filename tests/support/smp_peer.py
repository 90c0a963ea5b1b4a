"""A messaging server that does as it is told: the far end of a SOCKS stream, for what no honest server does."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certificates import Identity, issue

from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, Blocks, ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.commands import Command, Ping, parse_command
from onion_rdv.smp.wire.crypto import agree
from onion_rdv.smp.wire.hello import VERSIONS, ClientHello, ServerHello, fingerprint, sign_session_key
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import Pong, Reply
from onion_rdv.smp.wire.transmissions import Transmission, batches, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onion_rdv.smp.wire.encoding import Versions

HOST = "messaging.invalid"

CA = issue("test CA")
LEAF = issue("test server", CA)


@dataclass
class Talk:
    """One connection, after the hellos."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    blocks: Blocks
    version: int

    async def receive(self) -> list[tuple[Transmission, Command]]:
        """Take the commands in the next block."""
        data = self.blocks.open(await self.reader.readexactly(BLOCK_SIZE))
        taken = [Transmission.decode(part, self.version) for part in split(data)]
        return [(one, parse_command(one.command, self.version)) for one in taken]

    async def send(self, *transmissions: Transmission) -> None:
        """Send transmissions, as few blocks as hold them."""
        for data in batches([one.encode(self.version) for one in transmissions]):
            await self.send_data(data)

    async def send_data(self, data: bytes) -> None:
        """Send a block with any data in it."""
        await self.send_bytes(self.blocks.seal(data))

    async def send_bytes(self, data: bytes) -> None:
        """Send anything at all."""
        self.writer.write(data)
        await self.writer.drain()

    def reply(self, to: Transmission, reply: Reply) -> Transmission:
        """Make a reply as an honest server would."""
        return Transmission(to.correlation_id, to.entity_id, reply.encode(self.version))


async def answer_pings(talk: Talk) -> None:
    """Be honest, and of few words."""
    while True:
        for transmission, command in await talk.receive():
            assert isinstance(command, Ping)
            await talk.send(talk.reply(transmission, Pong()))


@dataclass
class SmpPeer:
    """Shakes hands as an honest server does, but for what is changed; then does what ``then`` says."""

    then: Callable[[Talk], Awaitable[None]] = answer_pings
    alter_hello: Callable[[ServerHello], bytes] = ServerHello.encode
    before_hello: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None
    tls: Identity = LEAF
    chain: tuple[Identity, ...] = (LEAF, CA)
    versions: Versions = VERSIONS
    client_hellos: list[ClientHello] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    @property
    def server(self) -> SmpServer:
        """The server that a link to the honest one names."""
        return SmpServer(fingerprint(CA.der), (HOST,))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(self._context())
        tls = writer.get_extra_info("ssl_object")
        session_id = tls.get_channel_binding("tls-unique")
        session_key = PrivateKey(Kind.X25519, secrets.token_bytes(32))
        signed = sign_session_key(session_key.public, self.chain[0].key)  # type: ignore[arg-type]
        hello = ServerHello(self.versions, session_id, tuple(one.der for one in self.chain), signed)
        if self.before_hello is not None:
            await self.before_hello(writer)
        writer.write(PlainBlocks().seal(self.alter_hello(hello)))
        await writer.drain()
        answer = ClientHello.decode(PlainBlocks().open(await reader.readexactly(BLOCK_SIZE)))
        self.client_hellos.append(answer)
        assert answer.session_key is not None
        agreed = agree(session_key.raw, answer.session_key.raw, "test")
        await self.then(Talk(reader, writer, ChainedBlocks.for_server(session_id, agreed), answer.version))

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        context.set_alpn_protocols(["smp/1"])
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        with tempfile.NamedTemporaryFile() as file:  # the only way that the module ssl takes a key
            file.write(self.tls.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context
