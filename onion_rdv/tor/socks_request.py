"""What a client says to tor's SOCKS port, and what comes back (RFC 1928, RFC 1929, tor's socks-extensions)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import asyncio

CONNECT: Final = 0x01
RESOLVE: Final = 0xF0
"""Tor's own: look up a name, and open nothing."""

SUCCEEDED: Final = 0x00

_VERSION: Final = 5
_WITH_PASSWORD: Final = b"\x05\x02"
_LET_IN: Final = b"\x01\x00"
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_SIZES: Final = {_IPV4: 4, _IPV6: 16}


class NotSocks(Exception):
    """What answers does not speak SOCKS 5, or wants no user name and password."""


class Answer(NamedTuple):
    """The code of a reply, and the address in it as it stands there (4 or 16 bytes, or a name)."""

    code: int
    address: bytes


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    command: int,
    host: str,
    port: int,
    credentials: tuple[str, str],
) -> Answer:
    """Say who asks, and ask for one thing; what follows the answer is the stream that was asked for.

    ``credentials`` are a user name and a password, up to 255 bytes each. Raises :class:`NotSocks`, and what asyncio
    raises where the connection ends.
    """
    writer.write(_WITH_PASSWORD[:1] + b"\x01" + _WITH_PASSWORD[1:])  # one method
    if await reader.readexactly(2) != _WITH_PASSWORD:
        raise NotSocks
    username, password = (text.encode() for text in credentials)
    writer.write(b"\x01" + bytes([len(username)]) + username + bytes([len(password)]) + password)
    if await reader.readexactly(2) != _LET_IN:
        raise NotSocks
    target = _name(host) if command == RESOLVE else _address(host)
    writer.write(bytes([_VERSION, command, 0]) + target + port.to_bytes(2))
    version, code, _, kind = await reader.readexactly(4)
    if version != _VERSION:
        raise NotSocks
    if code != SUCCEEDED:
        return Answer(code, b"")
    size = (await reader.readexactly(1))[0] if kind == _NAME else _ADDRESS_SIZES.get(kind)
    if size is None:
        raise NotSocks
    address = await reader.readexactly(size)
    await reader.readexactly(2)  # a port, which means nothing here
    return Answer(code, address)


def _address(host: str) -> bytes:
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        return _name(host)
    return bytes([_IPV4 if len(packed) == _ADDRESS_SIZES[_IPV4] else _IPV6]) + packed


def _name(host: str) -> bytes:
    name = host.encode("ascii" if host.isascii() else "idna")
    return bytes([_NAME, len(name)]) + name
