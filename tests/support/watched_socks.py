"""A watch before tor's real SOCKS port: it passes everything on, and notes what is asked."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forwarding import close, copy
from socks_proxy import CONNECT, DOMAIN_NAME, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.tor.socks import SocksPort

_REPLY_SIZE = 10  # to a request, where the address in it is of 4 bytes; tor's is


@dataclass
class WatchedSocks:
    """What stands before the port ``behind``; ``requests`` are those that were made, in their order.

    ``before_first_words`` is called when the first bytes of a host have come and before they are passed on, with the
    number of streams, this one among them, in which that happened; the stream ends there where it raises
    ConnectionError.
    """

    behind: SocksPort
    before_first_words: Callable[[int], None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    answered: int = 0

    @property
    def connects(self) -> list[Request]:
        """The requests for a stream."""
        return [request for request in self.requests if request.command == CONNECT]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; whoever calls this closes ``writer`` afterwards."""
        try:
            tor, to_tor = await asyncio.open_connection(self.behind.host, self.behind.port)
        except OSError:  # there is no tor any more
            return
        try:
            await self._pass_on(reader, writer, tor, to_tor)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            await close(to_tor)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tor: asyncio.StreamReader,
        to_tor: asyncio.StreamWriter,
    ) -> None:
        methods = await _read(reader, to_tor, 2)
        await _read(reader, to_tor, methods[1])
        assert (await _read(tor, writer, 2))[1] == 2, "user name and password were not asked for"
        username = await _read(reader, to_tor, (await _read(reader, to_tor, 2))[1])
        password = await _read(reader, to_tor, (await _read(reader, to_tor, 1))[0])
        await _read(tor, writer, 2)
        _, command, _, kind = await _read(reader, to_tor, 4)
        if kind == DOMAIN_NAME:
            host = (await _read(reader, to_tor, (await _read(reader, to_tor, 1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await _read(reader, to_tor, 4 if kind == 1 else 16)))
        port = int.from_bytes(await _read(reader, to_tor, 2))
        self.requests.append(Request((username, password), command, kind, host, port))
        sending = asyncio.create_task(copy(reader, to_tor))
        try:
            await _read(tor, writer, _REPLY_SIZE)
            words = await tor.read(65536)
            if words and command == CONNECT:
                self.answered += 1
                self.before_first_words(self.answered)
            writer.write(words)
            await copy(tor, writer)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending


async def _read(source: asyncio.StreamReader, sink: asyncio.StreamWriter, size: int) -> bytes:
    data = await source.readexactly(size)
    sink.write(data)
    return data
