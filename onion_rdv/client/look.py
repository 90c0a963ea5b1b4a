"""A look at the messaging server that a link names, over Tor, which uses nothing up.

Of a link that can be used once, nothing but its server's name is ever sent: asking for it would use it up. What a
link for many leads to is fetched and checked, without a trace at the other end.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.client.messaging import Hello
from onion_rdv.errors import (
    LinkDataRefused,
    MessagingCheckFailed,
    MessagingIdentityDiffers,
    MessagingServerUnreachable,
    NoTor,
    QueueRefused,
    RdvError,
    StreamFailed,
)
from onion_rdv.smp.client import SmpConnection, get_link, ping
from onion_rdv.smp.wire.connection_info import read_connection_info
from onion_rdv.smp.wire.hello import ALPN
from onion_rdv.smp.wire.link_data import contact_keys, open_parts
from onion_rdv.tor.socks import end_stream, is_tor, nothing_answers, open_stream_patiently

if TYPE_CHECKING:
    from onion_rdv.client.messaging import MessagingServer, SmpLink
    from onion_rdv.protocol.short_link import ShortLink
    from onion_rdv.tor.socks import SocksPort

_STATUS_LINE_SIZE = len(b"HTTP/1.1 200")
_VERSION = b"HTTP/"


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, and a few plain words about it.

    ``identity`` says whether the server has proved to be the one that the link names, ``alive`` whether the link
    leads anywhere; both are None where that cannot be known. ``error`` is what stood in the way, or went wrong.
    """

    reachable: bool
    detail: str
    identity: bool | None = None
    alive: bool | None = None
    error: RdvError | None = None


async def look(server: MessagingServer, socks: SocksPort, *, timeout: float) -> Look:
    """Look at a messaging server on a circuit of its own, within ``timeout`` seconds; an error is an answer too."""
    try:
        if server.smp is not None:
            return await _look_at_smp(server.smp, socks, timeout)
        return Look(reachable=True, detail=await _greet(server, socks, timeout))
    except NoTor as error:
        return Look(reachable=False, detail=error.message, error=error)
    except MessagingServerUnreachable as error:
        if not await is_tor(socks):  # then that is why
            gone = nothing_answers(socks)
            return Look(reachable=False, detail=gone.message, error=gone)
        return Look(reachable=False, detail=error.detail or error.message, error=error)


async def _look_at_smp(link: SmpLink, socks: SocksPort, timeout: float) -> Look:
    identity: bool | None = None
    try:
        async with await SmpConnection.connect(socks, link.server, timeout=timeout) as connection:
            seen = connection.session.identity
            identity = True if link.server.key_hash else None
            if link.short_link is None or link.short_link.is_one_time:
                await ping(connection)
                return Look(reachable=True, detail=_words(identity), identity=identity)
            named = await _look_at_link(connection, link.short_link)
    except QueueRefused as error:
        detail = f"{_words(identity)}; the link leads nowhere: it was deleted, or never was one"
        return Look(reachable=True, detail=detail, identity=identity, alive=False, error=error)
    except MessagingIdentityDiffers as error:
        return Look(reachable=True, detail=error.message, identity=False, error=error)
    except MessagingCheckFailed as error:
        return Look(reachable=True, detail=error.message, identity=identity, error=error)
    if not hmac.compare_digest(named, seen):  # also where the link itself names no identity
        differs = MessagingIdentityDiffers("it is not the one that the link's maker has used")
        return Look(reachable=True, detail=differs.message, identity=False, error=differs)
    return Look(reachable=True, detail=f"{_words(identity=True)}; the link is alive", identity=True, alive=True)


async def _look_at_link(connection: SmpConnection, link: ShortLink) -> bytes:
    """Fetch what a link for many leads to and check it; gives the identity of the server that its maker used."""
    link_id, secret = contact_keys(link.link_key)
    found = await get_link(connection, link_id)
    parts = open_parts(link.link_key, secret, found.data)
    queue = read_connection_info(parts, found.sender_id, is_invitation=False).queues[0]
    if link.hosts[0] not in queue.hosts:
        raise LinkDataRefused("it leads to another server than the link names")
    return queue.key_hash


def _words(identity: bool | None) -> str:
    if identity:
        return "it answers, and is the server that the link names"
    return "it answers; its identity was not checked, because the link does not say it"


async def _greet(server: MessagingServer, socks: SocksPort, timeout: float) -> str:
    deadline = time.monotonic() + timeout
    try:
        reader, writer = await open_stream_patiently(socks, server.host, server.port, timeout)
    except StreamFailed as error:
        raise MessagingServerUnreachable(error.detail) from None
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await _say_hello(server, reader, writer)
    except TimeoutError:
        raise MessagingServerUnreachable(f"no answer within {timeout:.0f} seconds") from None
    except (ssl.SSLError, OSError, asyncio.IncompleteReadError):
        raise MessagingServerUnreachable("it accepts a stream, but does not answer as such a server should") from None
    finally:
        await end_stream(writer)


async def _say_hello(server: MessagingServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    match server.hello:
        case Hello.TCP:
            return "it accepts connections"
        case Hello.HTTP:
            writer.write(f"HEAD / HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readexactly(_STATUS_LINE_SIZE)
            status = line.rpartition(b" ")[2]
            if not line.startswith(_VERSION) or not status.isdigit() or len(status) != len("200"):
                raise OSError("this is not HTTP")
            return f"it answers with HTTP status {status.decode()}"
        case _:
            return await _shake_hands(server, writer)


async def _shake_hands(server: MessagingServer, writer: asyncio.StreamWriter) -> str:
    """Shake hands without checking who it is: which authorities to believe is the app's business."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    name: str | None = server.host
    if server.hello is Hello.SMP:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        name = None  # an SMP server that also serves web pages would take a name for a browser's
    await writer.start_tls(context, server_hostname=name)
    version = writer.get_extra_info("ssl_object").version().replace("v", " ")
    return f"it answers with {version}; its identity was not checked"
