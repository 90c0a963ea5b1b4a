"""The messaging server that a link names: finding it in the link, without asking anybody."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import parse_qs, urlsplit

from onion_rdv.errors import MalformedLink, UsageError
from onion_rdv.protocol.host import is_onion, linked_host
from onion_rdv.protocol.short_link import LinkScheme, ShortLink
from onion_rdv.smp.known_servers import complete
from onion_rdv.smp.wire.address import SmpServer

_SMP_PORT: Final = "5223"
_WEB_PORTS: Final = {"http": "80", "https": "443"}
_SHORT_LINK_PATH: Final = re.compile(r"/[iacgr]/?", re.IGNORECASE)
_SMP_ADDRESS: Final = re.compile(r"(smp://[^@/]*@[^/?#]+)(?:[/?#].*)?")
_LONG_LINKS: Final = {"/invitation": "one-time invitation", "/contact": "contact address"}
_APP_PAGE: Final = "https://simplex.chat/"
_LOCAL_SCHEMES: Final = frozenset({"about", "blob", "data", "file", "javascript", "vbscript", "view-source"})


class Hello(Enum):
    """How a server of this sort is greeted."""

    SMP = "smp"
    HTTPS = "https"
    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class SmpLink:
    """A link to a SimpleX messaging server, or its address: what it is in plain words, and the server it names.

    ``short_link`` is there for short links, which lead to something that can be looked at.
    """

    kind: str
    server: SmpServer
    short_link: ShortLink | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MessagingServer:
    """Where a link leads: a host name that is never resolved here, a port, and how to greet what is there.

    ``smp`` is there where it is known which server has to answer.
    """

    host: str
    port: int
    hello: Hello
    smp: SmpLink | None = None

    @property
    def is_onion(self) -> bool:
        """Whether it is an onion service; anything else is reached through an exit relay."""
        return is_onion(self.host)


def messaging_server(link: str) -> MessagingServer | None:
    """Find the messaging server in a link: SimpleX links in every form, ``http(s)``, or any URI with host and port.

    An onion host is preferred where several hosts are named. Gives None where the link names no server.
    """
    smp = _smp_link(link)
    if smp is not None:
        return MessagingServer(smp.server.host, smp.server.port, Hello.SMP, smp)
    try:
        parts = urlsplit(link)
        host, port = parts.hostname or "", "" if parts.port is None else str(parts.port)
    except ValueError:
        return None
    query = parse_qs(parts.fragment.partition("?")[2])
    if parts.scheme == "smp" or "smp" in query or stays_here(link):
        return None
    # A short link that is not quite one may be of a later sort; where its server is can still be seen.
    is_short_link = parts.fragment and _SHORT_LINK_PATH.fullmatch(parts.path)
    if parts.scheme == "simplex" or (parts.scheme == "https" and is_short_link):
        hosts = [host, *",".join(query.get("h", [])).split(",")]
        return _choose(hosts, query.get("p", [_SMP_PORT])[0], Hello.SMP)
    if parts.scheme in _WEB_PORTS:
        return _choose([host], port or _WEB_PORTS[parts.scheme], Hello(parts.scheme))
    return _choose([host], port, Hello.TCP)


def stays_here(link: str) -> bool:
    """Say whether a link leads to nobody, but has a browser open or run something on the machine that it is on."""
    return link.partition(":")[0].strip().lower() in _LOCAL_SCHEMES


def for_the_app(link: str) -> str | None:
    """Give the link in the form that only the SimpleX app opens, and no browser; None where it is no link for it."""
    try:
        return ShortLink.parse(link).with_scheme(LinkScheme.SIMPLEX).write()
    except MalformedLink:
        pass
    smp = _smp_link(link)
    if smp is None or link.startswith("smp:"):
        return None
    return "simplex:/" + link.removeprefix(_APP_PAGE).removeprefix("simplex:").lstrip("/")


def _smp_link(link: str) -> SmpLink | None:
    try:
        short = ShortLink.parse(link)
    except MalformedLink:
        return _long_link(link)
    return SmpLink(short.type.words, complete(short.hosts, short.port, short.key_hash), short)


def _long_link(link: str) -> SmpLink | None:
    """Read a link with whole addresses of queues in it, or a server's address."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme == "smp":
        return _at_server("server address", link)
    kind = _LONG_LINKS.get(parts.path)
    queues = parse_qs(parts.fragment.partition("?")[2]).get("smp")
    if kind is None or queues is None or not link.startswith(("simplex:/", _APP_PAGE)):
        return None
    return _at_server(f"{kind} (long form)", queues[0])


def _at_server(kind: str, address: str) -> SmpLink | None:
    found = _SMP_ADDRESS.fullmatch(address)
    try:
        return SmpLink(kind, SmpServer.parse(found[1])) if found else None
    except UsageError:
        return None


def _choose(hosts: list[str], port: str, hello: Hello) -> MessagingServer | None:
    named = [spelled for host in hosts if (spelled := linked_host(host)) is not None]
    number = int(port) if re.fullmatch("[0-9]{1,5}", port, re.ASCII) else 0
    if not named or not 0 < number < 2**16:
        return None
    return MessagingServer(next((host for host in named if is_onion(host)), named[0]), number, hello)
