"""How a connection begins: TLS inside a stream through Tor, the two hellos, and the checks of who is there."""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from onion_rdv.smp.wire.blocks import BLOCK_SIZE, Blocks, ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.crypto import agree
from onion_rdv.smp.wire.hello import ALPN, CHANNEL_BINDING, ClientHello, ServerHello
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey

if TYPE_CHECKING:
    import asyncio

    from onion_rdv.smp.wire.address import SmpServer


@dataclass(frozen=True, slots=True)
class Session:
    """What both sides have settled.

    ``server_key`` is the server's X25519 key for this session; ``identity`` the 32-byte fingerprint that it has
    proved to have.
    """

    version: int
    session_id: bytes = field(repr=False)
    server_key: PublicKey = field(repr=False)
    identity: bytes
    blocks: Blocks = field(repr=False)


async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: SmpServer) -> Session:
    """Begin a session on an open stream; the caller sets the time-out.

    Raises :class:`ssl.SSLError`, :class:`OSError` and :class:`asyncio.IncompleteReadError` where the other side does
    not go along, :class:`~onion_rdv.errors.MessagingVersionUnknown`, and
    :class:`~onion_rdv.errors.MessagingCheckFailed` with its kinds where a check fails.
    """
    # A name in the TLS hello would make a server that has web pages too take us for a browser.
    await writer.start_tls(_context(), server_hostname=None)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    hellos = PlainBlocks()
    hello = ServerHello.decode(hellos.open(await reader.readexactly(BLOCK_SIZE)))
    server_key = hello.check(
        key_hash=server.key_hash or hello.identity,
        session_id=tls.get_channel_binding(CHANNEL_BINDING) or b"",
        tls_certificate=tls.getpeercert(binary_form=True) or b"",
        now=datetime.now(UTC),
    )
    session_key = PrivateKey(Kind.X25519, secrets.token_bytes(Kind.X25519.size))
    blocks = ChainedBlocks.for_client(hello.session_id, agree(session_key.raw, server_key.raw, "the server's hello"))
    writer.write(hellos.seal(ClientHello(hello.version, hello.identity, session_key.public).encode()))
    await writer.drain()
    return Session(hello.version, hello.session_id, server_key, hello.identity, blocks)


def _context() -> ssl.SSLContext:
    """Make a context that checks no certificate: no authority knows an SMP server's, its hello is checked instead."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context
