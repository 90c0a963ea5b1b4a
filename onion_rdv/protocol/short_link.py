"""SimpleX short links: read as SimpleX reads them, written in one form (docs/protocol.md, "Short links")."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Self
from urllib.parse import quote, unquote

from onion_rdv.errors import MalformedLink
from onion_rdv.protocol import base64url
from onion_rdv.protocol.host import canonical_host, is_onion

SMP_PORT: Final = 5223
"""The port of a messaging server where a link names none."""

LINK_KEY_SIZE: Final = 32
LINK_ID_SIZE: Final = 24
KEY_HASH_SIZE: Final = 32

_SHAPE: Final = re.compile(
    r"""(?: simplex: | https:// (?P<host> [^/?\#]+ ) )
        / (?P<type> [iaAcCgGrR] ) /? \#
        (?: (?P<link_id> [^/?\#]* ) / )?
        (?P<link_key> [^/?\#]* )
        (?: \? (?P<query> [^\x20\n]* ) )?""",
    re.VERBOSE,
)
_VALUE: Final = re.compile(r"([A-Za-z0-9_-]+)=?")
_PORT: Final = re.compile("0*([0-9]{1,5})")
_SEPARATOR: Final = re.compile("[&;]")


class LinkScheme(Enum):
    """How a short link begins: for the app, or for a browser, whose page hands it on to the app."""

    SIMPLEX = "simplex"
    SERVER = "https"


class LinkType(Enum):
    """What a short link leads to: its letter in the link, and plain words."""

    ONE_TIME = ("i", "one-time invitation")
    CONTACT = ("a", "contact address")
    CHANNEL = ("c", "channel")
    GROUP = ("g", "group")
    RELAY = ("r", "relay")

    def __init__(self, letter: str, words: str) -> None:
        self.letter = letter
        self.words = words


_TYPES: Final = {kind.letter: kind for kind in LinkType}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortLink:
    """A short link, taken apart.

    ``hosts`` are those of one messaging server, in their canonical spelling; in the ``https`` form the first of them
    is the authority. ``key_hash`` is the server's identity (32 bytes), left out for servers that the app knows, as is
    ``port`` where it is the usual one. Only a one-time link has a ``link_id`` (24 bytes); that of the others follows
    from the ``link_key`` (32 bytes). Raises :class:`ValueError` for anything else.
    """

    scheme: LinkScheme
    type: LinkType
    hosts: tuple[str, ...]
    port: int | None = None
    key_hash: bytes | None = None
    link_id: bytes | None = field(default=None, repr=False)
    link_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("a short link names a host")
        if any(canonical_host(host) != host for host in self.hosts):
            raise ValueError("a host in it is not in its one spelling")
        if self.port is not None and not 0 < self.port < 2**16:
            raise ValueError("a port is a number from 1 to 65535")
        if (self.link_id is not None) is not self.is_one_time:
            raise ValueError("a one-time link has a link id, and no other has")
        for name, value, size in (
            ("a key hash", self.key_hash, KEY_HASH_SIZE),
            ("a link id", self.link_id, LINK_ID_SIZE),
            ("a link key", self.link_key, LINK_KEY_SIZE),
        ):
            if value is not None and len(value) != size:
                raise ValueError(f"{name} has {size} bytes, not {len(value)}")

    @property
    def is_one_time(self) -> bool:
        """Whether asking for what is behind the link uses it up."""
        return self.type is LinkType.ONE_TIME

    @property
    def preferred_host(self) -> str:
        """The host to use: an onion service where one is named."""
        return next((host for host in self.hosts if is_onion(host)), self.hosts[0])

    @property
    def server_port(self) -> int:
        """The port to use.

        The SimpleX app takes 443 where none is named and the host is one of its own makers' (or its user wants that
        for every server); those servers listen on both.
        """
        return SMP_PORT if self.port is None else self.port

    def with_scheme(self, scheme: LinkScheme) -> Self:
        """Give the same link in the other form; the one that begins with ``simplex:`` involves no browser."""
        return replace(self, scheme=scheme)

    def write(self) -> str:
        """Write the link in its canonical form; ``str`` and ``repr`` keep its secrets to themselves."""
        hosts = self.hosts
        if self.scheme is LinkScheme.SIMPLEX:
            start = "simplex:"
        else:
            start, hosts = f"https://{hosts[0]}", hosts[1:]
        parameters = {
            "h": quote(",".join(hosts), safe=""),
            "p": "" if self.port is None else str(self.port),
            "c": "" if self.key_hash is None else base64url.encode(self.key_hash),
        }
        link_id = "" if self.link_id is None else f"{base64url.encode(self.link_id)}/"
        query = "&".join(f"{name}={value}" for name, value in parameters.items() if value)
        return f"{start}/{self.type.letter}#{link_id}{base64url.encode(self.link_key)}{query and f'?{query}'}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a short link in any form that SimpleX reads.

        Raises :class:`~onion_rdv.errors.MalformedLink` for anything else. The message never repeats what was given.
        """
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise MalformedLink("it does not look like a SimpleX short link")
        link_type = _TYPES[shape["type"].lower()]
        link_id = shape["link_id"]
        if (link_id is not None) is not (link_type is LinkType.ONE_TIME):
            raise MalformedLink("a one-time link has two parts before its query, every other link one")
        query = _parse_query(shape["query"] or "")
        hosts = query["h"].split(",") if query.get("h") else []
        if shape["host"] is not None:
            hosts.insert(0, shape["host"])
        if not hosts:
            raise MalformedLink("it names no server")
        try:
            spelled = tuple(map(canonical_host, hosts))
        except ValueError as error:
            raise MalformedLink(str(error)) from None
        return cls(
            scheme=LinkScheme.SIMPLEX if shape["host"] is None else LinkScheme.SERVER,
            type=link_type,
            hosts=spelled,
            port=_decode_port(query["p"]) if "p" in query else None,
            key_hash=_decode(query["c"], KEY_HASH_SIZE, "the server's fingerprint") if "c" in query else None,
            link_id=None if link_id is None else _decode(link_id, LINK_ID_SIZE, "the first part"),
            link_key=_decode(shape["link_key"], LINK_KEY_SIZE, "the key"),
        )


def is_short_link(text: str) -> bool:
    """Say whether this is a SimpleX short link."""
    try:
        ShortLink.parse(text)
    except MalformedLink:
        return False
    return True


def _parse_query(query: str) -> dict[str, str]:
    """Take a query apart; of parameters with one name the first counts.

    Values are ASCII wherever they are good, so what other bytes decode to does not matter, as long as it is not that.
    """
    values: dict[str, str] = {}
    for parameter in _SEPARATOR.split(query.removeprefix("?")):
        name, _, value = (unquote(part, "latin-1") for part in parameter.partition("="))
        values.setdefault(name, value)
    return values


def _decode_port(text: str) -> int:
    number = _PORT.fullmatch(text)
    port = int(number[1]) if number else 0
    if not 0 < port < 2**16:
        raise MalformedLink("its port is no number from 1 to 65535")
    return port


def _decode(text: str, size: int, what: str) -> bytes:
    """Read base64url with or without padding; spare bits in its last character are ignored, as SimpleX does."""
    found = _VALUE.fullmatch(text)
    characters = -(-size * 8 // 6)
    if found is None or len(found[1]) != characters or (text != found[1] and characters % 4 == 0):
        raise MalformedLink(f"{what} in it is not {characters} characters of base64url")
    return base64url.decode(found[1])
