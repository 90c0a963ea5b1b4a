"""Clients that mean no good: a process of them keeps a server's socket busy in one way until it is stopped.

``python hostile_clients.py KIND SOCKET --connections 2000`` prints a line when all of them are at work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import itertools
import random
import secrets
import socket
import sys
import termios
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smp_server import tls_context

from onion_rdv.protocol.exchange import REPLY_SIZE
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, PlainBlocks
from onion_rdv.smp.wire.commands import LinkGet
from onion_rdv.smp.wire.hello import ClientHello, ServerHello
from onion_rdv.smp.wire.transmissions import Transmission, batches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Kind = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    LateKind = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Callable[[], None]], Awaitable[None]]
    """It says itself when it has begun."""

BODY: Final = bytes(256)


def request(path: str = "/v1/fetch", body: bytes = BODY, more: str = "", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@dataclass
class Pace:
    """How fast clients are that ask again and again: seconds from one request of each to the next, 0 for no pause."""

    pause: float = 0

    async def after(self, requests: int) -> None:
        """Wait until the next are due; not all at once, but each at some time of its own."""
        if self.pause:
            await asyncio.sleep(requests * self.pause * random.uniform(0.5, 1.5))


PACE: Final = Pace()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Open a connection and say nothing."""
    await reader.read()


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte of a head each second."""
    for byte in request():
        writer.write(bytes([byte]))
        await _pause(reader)


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a head, and a byte of a body each second."""
    writer.write(request()[: -len(BODY)])
    for _ in BODY:
        writer.write(b"x")
        await _pause(reader)


async def _pause(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            if not await reader.read(REPLY_SIZE):
                raise ConnectionError


async def unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send requests and take no reply."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport that reads
    while True:
        writer.write(request() if PACE.pause else request() * 10)
        await writer.drain()
        await asyncio.sleep(0.01)
        await PACE.after(1)


async def pipelined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send requests ten at a time, as fast as they are answered."""
    while True:
        writer.write(request() * 10)
        await reader.readexactly(10 * REPLY_SIZE)
        await PACE.after(10)


async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send good requests, one after the other, as fast as they are answered."""
    while True:
        writer.write(request())
        await reader.readexactly(REPLY_SIZE)
        await PACE.after(1)


WRONG: Final = (
    request(body=bytes(255)),
    request(body=bytes(257)),
    request(body=bytes(100_000)),
    request(method="GET"),
    request(method="BREW"),
    request("/"),
    request("/" + "x" * 900),
    request("/" + "x" * 100_000),
    request(more=f"X: {'x' * 1_000_000}\r\n"),
    request(more="".join(f"X{number}: x\r\n" for number in range(10_000))),
    request(more="Transfer-Encoding: chunked\r\n"),
    request(more="Content-Encoding: gzip\r\n"),
    b"\x16\x03\x01" + bytes(10_000),
    b"\r\n" * 10_000,
    secrets.token_bytes(100_000),
)
_next_wrong: Final[Iterator[bytes]] = itertools.cycle(WRONG)


async def wrong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send what is no request: wrong lengths, methods, paths, heads of a megabyte, noise."""
    writer.write(next(_next_wrong))
    await reader.read()


LINK_ID: Final = b"a link to ask for often."
_MANY: Final = [Transmission(b"", LINK_ID, LinkGet().encode(18)).encode(18)] * 255


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: Callable[[], None]) -> None:
    """Ask a messaging server for what a link leads to, 255 times in each block, and take no answer."""
    blocks = PlainBlocks()
    await writer.start_tls(tls_context("smp/1"))
    hello = ServerHello.decode(blocks.open(await reader.readexactly(BLOCK_SIZE)))
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(blocks.seal(ClientHello(hello.version, hello.identity, None).encode()))
    writer.write(b"".join(map(blocks.seal, batches(_MANY))))
    while _waiting_for(writer) < 4 * BLOCK_SIZE:
        await asyncio.sleep(0.01)
    begun()
    while True:
        writer.write(b"".join(map(blocks.seal, batches(_MANY))))
        await writer.drain()
        await asyncio.sleep(0.01)


def _waiting_for(writer: asyncio.StreamWriter) -> int:
    """Count the bytes that the system has for a connection (ioctl_list(2), "FIONREAD")."""
    count = array("i", [0])
    fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return count[0]


def _at_once(kind: Kind) -> LateKind:
    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: Callable[[], None]) -> None:
        begun()
        await kind(reader, writer)

    return begin


KINDS: Final[dict[str, LateKind]] = {
    kind.__name__: _at_once(kind) for kind in (silent, slow_head, slow_body, unread, pipelined, hasty, wrong)
} | {deaf.__name__: deaf}


async def _misbehave(kind: str, path: str, begun: Callable[[], None]) -> None:
    await PACE.after(1)
    while True:
        # Who is cut off comes again.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            # asyncio would take a queue that is full for a connection that is open.
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            while connection.connect_ex(path):
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_unix_connection(sock=connection)
            try:
                await KINDS[kind](reader, writer, begun)
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.01)
        await PACE.after(1)


async def misbehave(kinds: list[str], path: str, connections: int) -> None:
    """Do it until cancelled."""
    waiting = set(range(connections))

    def begin(number: int) -> None:
        if waiting and waiting <= {number}:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
        waiting.discard(number)

    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            kind = kinds[number % len(kinds)]
            group.create_task(_misbehave(kind, path, lambda number=number: begin(number)))  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--rate", type=float, help="requests a second of all together; as many as can be by default")
    options = parser.parse_args()
    if options.rate:
        PACE.pause = options.connections / options.rate
    asyncio.run(misbehave(options.kinds, options.path, options.connections))


if __name__ == "__main__":
    main()
