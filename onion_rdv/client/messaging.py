"""The messaging server that a link names: finding it in the link, and asking whether it answers, over Tor.

Nothing of the link but its host and port is ever sent: a one-time link could be used up by asking for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from onion_rdv.errors import NoTor, StreamFailed
from onion_rdv.tor.socks import FINAL, open_stream

if TYPE_CHECKING:
    from onion_rdv.tor.socks import SocksPort

_SMP_PORT = "5223"
_WEB_PORTS = {"http": "80", "https": "443"}
_SHORT_LINK_PATH = re.compile(r"/[iacgr]/?", re.IGNORECASE)
_SMP_ADDRESS = re.compile(r"smp://[^@/]*@(?P<hosts>[^:/?#]+)(?::(?P<port>[0-9]+))?(?:[/?#].*)?")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?", re.IGNORECASE | re.ASCII)
_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})")

_STATUS_LINE_SIZE = 12  # "HTTP/1.1 200"
_TRIES = 3
_PAUSE = 2.0


class Hello(Enum):
    """How a server of this sort is greeted."""

    SMP = "smp"
    HTTPS = "https"
    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class MessagingServer:
    """Where a link leads: a host name that is never resolved here, a port, and how to greet what is there."""

    host: str
    port: int
    hello: Hello

    @property
    def is_onion(self) -> bool:
        """Whether it is an onion service; anything else is reached through an exit relay."""
        return self.host.endswith(".onion")


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a messaging server answered, and a few plain words about it."""

    reachable: bool
    detail: str


def messaging_server(link: str) -> MessagingServer | None:
    """Find the messaging server in a link: SimpleX links in every form, ``http(s)``, or any URI with host and port.

    An onion host is preferred where several hosts are named. Gives None where the link names no server.
    """
    try:
        parts = urlsplit(link)
        host, port = parts.hostname or "", "" if parts.port is None else str(parts.port)
    except ValueError:
        return None
    query = parse_qs(parts.fragment.partition("?")[2])
    if parts.scheme == "smp" or "smp" in query:  # a server's own address, or a long link with one inside
        return _smp_address(query["smp"][0] if "smp" in query else link)
    is_short_link = parts.fragment and _SHORT_LINK_PATH.fullmatch(parts.path)
    if parts.scheme == "simplex" or (parts.scheme == "https" and is_short_link):
        hosts = [host, *",".join(query.get("h", [])).split(",")]
        return _choose(hosts, query.get("p", [_SMP_PORT])[0], Hello.SMP)
    if parts.scheme in _WEB_PORTS:
        return _choose([host], port or _WEB_PORTS[parts.scheme], Hello(parts.scheme))
    return _choose([host], port, Hello.TCP)


def _smp_address(text: str) -> MessagingServer | None:
    address = _SMP_ADDRESS.fullmatch(text)
    return _choose(address["hosts"].split(","), address["port"] or _SMP_PORT, Hello.SMP) if address else None


def _choose(hosts: list[str], port: str, hello: Hello) -> MessagingServer | None:
    named = [host.lower() for host in hosts if _HOST.fullmatch(host)]
    number = int(port) if re.fullmatch("[0-9]{1,5}", port, re.ASCII) else 0
    if not named or not 0 < number < 2**16:
        return None
    return MessagingServer(next((host for host in named if host.endswith(".onion")), named[0]), number, hello)


async def probe(server: MessagingServer, socks: SocksPort, *, timeout: float) -> Probe:
    """Ask, on a circuit of its own, whether a messaging server answers within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    for tries_left in reversed(range(_TRIES)):
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await _greet(server, socks, deadline - time.monotonic())
        except TimeoutError:
            return Probe(reachable=False, detail=f"no answer within {timeout:.0f} seconds")
        except NoTor as error:
            return Probe(reachable=False, detail=error.message)
        except (StreamFailed, ssl.SSLError, OSError, asyncio.IncompleteReadError) as error:
            failure = error
        if not tries_left or (isinstance(failure, StreamFailed) and failure.code in FINAL):
            break
        await asyncio.sleep(min(_PAUSE, max(0, deadline - time.monotonic())))
    if isinstance(failure, StreamFailed):
        return Probe(reachable=False, detail=failure.detail)
    return Probe(reachable=False, detail="it accepts a stream, but does not answer as such a server should")


async def _greet(server: MessagingServer, socks: SocksPort, timeout: float) -> Probe:
    reader, writer = await open_stream(socks, server.host, server.port, timeout)
    try:
        if server.hello is Hello.TCP:
            return Probe(reachable=True, detail="it accepts connections")
        if server.hello is Hello.HTTP:
            writer.write(f"HEAD / HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode())
            status = _STATUS_LINE.match(await reader.readexactly(_STATUS_LINE_SIZE))
            if status is None:
                raise OSError("this is not HTTP")
            return Probe(reachable=True, detail=f"it answers with HTTP status {status[1].decode()}")
        return await _greet_tls(server, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def _greet_tls(server: MessagingServer, writer: asyncio.StreamWriter) -> Probe:
    """Shake hands without checking who it is: an SMP server's certificate is known to no authority."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    name: str | None = server.host
    if server.hello is Hello.SMP:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["smp/1"])
        name = None  # an SMP server that also serves web pages would take a name for a browser's
    await writer.start_tls(context, server_hostname=name)
    version = writer.get_extra_info("ssl_object").version().replace("v", " ")
    return Probe(reachable=True, detail=f"it answers with {version}; its identity was not checked")
