"""SimpleX short links for property tests: any link that SimpleX could make, and every other way to spell it."""

from __future__ import annotations

import base64
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from onion_rdv.protocol import LinkScheme, LinkType, ShortLink, encode_onion_address
from onion_rdv.protocol.host import canonical_host

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

KEYS = st.binary(min_size=32, max_size=32)
ONION_HOSTS = KEYS.map(encode_onion_address)
ODD_ONION_HOSTS = st.from_regex(r"[a-z0-9]{1,57}\.onion", fullmatch=True)
IPV4_HOSTS = st.integers(0, 2**32 - 1).map(IPv4Address).map(str)
IPV6_HOSTS = st.ip_addresses(v=6).map(lambda address: canonical_host(address.exploded))
_LABELS = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?", fullmatch=True)
NAMES = st.tuples(st.lists(_LABELS, max_size=3), st.from_regex("[a-z]{2,10}", fullmatch=True)).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)

_OTHER_PARAMETERS = st.tuples(st.sampled_from(["", "x", "H", "hh"]), st.text("abc/#?@:", max_size=5))


def _is_host(text: str) -> bool:
    try:
        return canonical_host(text) == text
    except ValueError:
        return False


HOSTS: SearchStrategy[str] = (
    ONION_HOSTS | ODD_ONION_HOSTS | IPV4_HOSTS | IPV6_HOSTS | NAMES.filter(_is_host)  # not 1.2.3.4.org, x.onion.org
)


@st.composite
def short_links(draw: DrawFn, hosts: SearchStrategy[str] = HOSTS, max_hosts: int = 4) -> ShortLink:
    """Give any short link, of any type and in either form."""
    kind = draw(st.sampled_from(LinkType))
    return ShortLink(
        scheme=draw(st.sampled_from(LinkScheme)),
        type=kind,
        hosts=tuple(draw(st.lists(hosts, min_size=1, max_size=max_hosts))),
        port=draw(st.none() | st.integers(1, 65535)),
        key_hash=draw(st.none() | KEYS),
        link_id=draw(st.binary(min_size=24, max_size=24)) if kind is LinkType.ONE_TIME else None,
        link_key=draw(KEYS),
    )


def base64url(value: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def written(link: ShortLink) -> str:
    """Write the canonical form, a second time and by other means than the code under test."""
    hosts = list(link.hosts)
    text = "simplex:/" if link.scheme is LinkScheme.SIMPLEX else f"https://{hosts.pop(0)}/"
    text += f"{link.type.letter}#"
    if link.link_id is not None:
        text += base64url(link.link_id) + "/"
    text += base64url(link.link_key)
    mark = "?"
    if hosts:
        text += mark + "h=" + "%2C".join(host.replace(":", "%3A") for host in hosts)
        mark = "&"
    if link.port is not None:
        text += f"{mark}p={link.port}"
        mark = "&"
    if link.key_hash is not None:
        text += f"{mark}c={base64url(link.key_hash)}"
    return text


@st.composite
def respelled(draw: DrawFn, link: ShortLink) -> str:
    """Spell a link in any other way that SimpleX reads."""

    def key(value: bytes) -> str:  # 43 characters, of which the last has two spare bits
        text = base64url(value)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(text[-1]) + draw(st.integers(0, 3))
        return text[:-1] + alphabet[last] + draw(st.sampled_from(["", "="]))

    def host(text: str) -> str:
        if ":" in text:
            return draw(st.sampled_from([text, f"[{text}]", text.upper()]))
        if text.replace(".", "").isdecimal():
            return ".".join(draw(st.sampled_from([number, f"0{number}"])) for number in text.split("."))
        return text

    def escaped(text: str) -> str:
        return "".join(f"%{ord(one):02x}" if one in "&;=%" or draw(st.booleans()) else one for one in text)

    hosts = [host(one) for one in link.hosts]
    letters = [link.type.letter] if link.is_one_time else [link.type.letter, link.type.letter.upper()]
    start = "simplex:" if link.scheme is LinkScheme.SIMPLEX else f"https://{hosts.pop(0)}"
    parameters: list[tuple[str, str]] = [("h", ",".join(hosts))]
    if not hosts and draw(st.booleans()):
        parameters = []
    parameters += [] if link.port is None else [("p", "0" * draw(st.integers(0, 6)) + str(link.port))]
    parameters += [] if link.key_hash is None else [("c", key(link.key_hash))]
    known = draw(st.permutations(parameters))
    others = draw(st.lists(_OTHER_PARAMETERS, max_size=2))
    again = [(name, "nothing good") for name, _ in known if draw(st.booleans())]  # the first counts
    pieces = [f"{escaped(name)}={escaped(value)}" for name, value in [*others, *known, *again]]
    query = "".join(piece.replace(" ", "%20") + draw(st.sampled_from("&;")) for piece in pieces)
    mark = "?" if query else ""
    link_id = "" if link.link_id is None else base64url(link.link_id) + "/"
    head = f"{start}/{draw(st.sampled_from(letters))}{draw(st.sampled_from(['', '/']))}"
    return f"{head}#{link_id}{key(link.link_key)}{mark}{draw(st.sampled_from([mark, '']))}{query}"
