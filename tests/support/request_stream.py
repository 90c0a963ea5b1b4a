"""Requests from outside, one after the other: each is tried once, and one that fails is a failure."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_socks import ProxyType
from python_socks.async_.asyncio.v2 import Proxy

from onion_rdv.protocol.exchange import FETCH_PADDING_SIZE, FETCH_PATH, REPLY_SIZE, fetch_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PATIENCE = 60.0  # seconds that a request may take; on a circuit that stands it takes a tenth of one
_CLIENTS = 3


@dataclass
class RequestStream:
    """What became of the requests so far."""

    served: int = 0
    failures: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def goes_on(self, requests: int = 10) -> None:
        """Wait until so many more requests were served; each that fails ends the waiting too."""
        wanted = self.served + requests
        while self.served < wanted and not self.failures:
            self._news.clear()
            await self._news.wait()

    async def keep_asking(self, socks: tuple[str, int], host: str, link: bytes) -> None:
        """Fetch a bucket again and again, as a client that has one circuit, and a new stream for every request."""
        client = Proxy(ProxyType.SOCKS5, *socks, secrets.token_hex(8), "x", rdns=True)
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    reply = await _fetch(client, host, link)
                if len(reply) != REPLY_SIZE or not reply.startswith(b"HTTP/1.1 200 "):
                    self.failures.append(f"{len(reply)} bytes: {reply[:80]!r}")
                self.served += 1
            except Exception as error:  # noqa: BLE001 whatever it is, a client got no bucket
                self.failures.append(f"{type(error).__name__}: {error}")
            self._news.set()


async def _fetch(client: Proxy, host: str, link: bytes) -> bytes:
    stream = await client.connect(host, 80)
    try:
        body = fetch_body(link, secrets.token_bytes(FETCH_PADDING_SIZE))
        head = (
            f"POST {FETCH_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        stream.writer.write(head.encode() + body)
        return await stream.reader.read()
    finally:
        stream.writer.close()


@asynccontextmanager
async def asking(socks: tuple[str, int], host: str, link: bytes) -> AsyncIterator[RequestStream]:
    """Have a few clients fetch a bucket again and again for as long as the block lasts; each has begun before."""
    stream = RequestStream()
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(stream.keep_asking(socks, host, link)) for _ in range(_CLIENTS)]
        try:
            await stream.goes_on()
            yield stream
        finally:
            for client in clients:
                client.cancel()
