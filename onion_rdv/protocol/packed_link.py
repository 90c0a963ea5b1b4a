"""A SimpleX short link in few bytes (docs/protocol.md, "Packed links"): exactly one packing for every link."""

from __future__ import annotations

from typing import Final

from onion_rdv.errors import MalformedEntry, MalformedOnionAddress
from onion_rdv.protocol.host import is_onion
from onion_rdv.protocol.onion import ONION_KEY_SIZE, decode_onion_address, encode_onion_address
from onion_rdv.protocol.short_link import (
    KEY_HASH_SIZE,
    LINK_ID_SIZE,
    LINK_KEY_SIZE,
    LinkScheme,
    LinkType,
    ShortLink,
)

_TYPES: Final = (LinkType.ONE_TIME, LinkType.CONTACT, LinkType.CHANNEL, LinkType.GROUP, LinkType.RELAY)
_TYPE_BITS: Final = 0b0000_0111
_HTTPS: Final = 0b0000_1000
_HAS_PORT: Final = 0b0001_0000
_HAS_KEY_HASH: Final = 0b0010_0000
_UNASSIGNED: Final = 0b1100_0000

_NO_MORE_HOSTS: Final = 0
_MAX_TEXT_SIZE: Final = 253
_ONION: Final = 255


def pack(link: ShortLink) -> bytes:
    """Pack a short link; an onion host takes 33 bytes, every other host one more than it has characters."""
    head = _TYPES.index(link.type)
    tail = b""
    if link.scheme is LinkScheme.SERVER:
        head |= _HTTPS
    if link.port is not None:
        head |= _HAS_PORT
        tail += link.port.to_bytes(2)
    if link.key_hash is not None:
        head |= _HAS_KEY_HASH
        tail += link.key_hash
    hosts = b"".join(map(_pack_host, link.hosts))
    return bytes([head]) + hosts + bytes([_NO_MORE_HOSTS]) + tail + (link.link_id or b"") + link.link_key


def unpack(data: bytes) -> ShortLink:
    """Give the short link that packs to these bytes; raises :class:`~onion_rdv.errors.MalformedEntry`."""
    reader = _Reader(data)
    head = reader.byte()
    if head & _UNASSIGNED or head & _TYPE_BITS >= len(_TYPES):
        raise MalformedEntry(
            "its packed link is of a sort that this version does not know",
            hint="the sender's version is newer: update onion-rdv",
        )
    link_type = _TYPES[head & _TYPE_BITS]
    hosts = []
    while (mark := reader.byte()) != _NO_MORE_HOSTS:
        hosts.append(_unpack_host(mark, reader))
    port = int.from_bytes(reader.take(2)) if head & _HAS_PORT else None
    key_hash = reader.take(KEY_HASH_SIZE) if head & _HAS_KEY_HASH else None
    link_id = reader.take(LINK_ID_SIZE) if link_type is LinkType.ONE_TIME else None
    link_key = reader.take(LINK_KEY_SIZE)
    if reader.left:
        raise MalformedEntry("bytes are left over behind its packed link")
    try:
        return ShortLink(
            scheme=LinkScheme.SERVER if head & _HTTPS else LinkScheme.SIMPLEX,
            type=link_type,
            hosts=tuple(hosts),
            port=port,
            key_hash=key_hash,
            link_id=link_id,
            link_key=link_key,
        )
    except ValueError as error:
        raise MalformedEntry(str(error)) from None


class _Reader:
    """Takes bytes from the front."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        if len(self.left) < size:
            raise MalformedEntry("its packed link is cut short")
        taken, self.left = self.left[:size], self.left[size:]
        return taken


def _pack_host(host: str) -> bytes:
    onion_key = _onion_key(host)
    if onion_key is not None:
        return bytes([_ONION]) + onion_key
    return bytes([len(host)]) + host.encode("ascii")


def _unpack_host(mark: int, reader: _Reader) -> str:
    if mark == _ONION:
        return encode_onion_address(reader.take(ONION_KEY_SIZE))
    if mark > _MAX_TEXT_SIZE:
        raise MalformedEntry("a host in its packed link is too long")
    host = reader.take(mark).decode("latin-1")  # whether it is ASCII is looked at with the rest of its spelling
    if _onion_key(host) is not None:
        raise MalformedEntry("an onion address in its packed link is spelled out")
    return host


def _onion_key(host: str) -> bytes | None:
    """Give the key that a host spells out, if it is a version 3 onion address."""
    if not is_onion(host):
        return None
    try:
        return decode_onion_address(host)
    except MalformedOnionAddress:
        return None  # SimpleX takes any letters before .onion
