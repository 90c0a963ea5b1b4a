"""Streams to one host, each over a circuit of its own and for one request; some are opened before they are needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.errors import NoTor, StreamFailed
from onion_rdv.tor.socks import open_stream

if TYPE_CHECKING:
    from onion_rdv.tor.socks import SocksPort

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Streams:
    """Streams to one host through one SOCKS port."""

    def __init__(self, socks: SocksPort, host: str, port: int) -> None:
        self._socks = socks
        self._host = host
        self._port = port
        self._ahead: list[asyncio.Task[Stream]] = []

    def open_ahead(self, timeout: float) -> None:
        """Begin to open a stream, within ``timeout`` seconds, while its request is still being made."""
        self._ahead.append(asyncio.create_task(self._open(timeout)))

    async def take(self, timeout: float) -> Stream:
        """Give a stream that was not used before; raises as :func:`~onion_rdv.tor.socks.open_stream` does.

        Of those that were begun before it is the first that is open, and where none is open any more, a new one.
        """
        failure: StreamFailed | NoTor | None = None
        while self._ahead:
            done, _ = await asyncio.wait(self._ahead, return_when=asyncio.FIRST_COMPLETED)
            opening = next(opening for opening in self._ahead if opening in done)
            self._ahead.remove(opening)
            try:
                reader, writer = opening.result()
            except (StreamFailed, NoTor) as error:
                failure = failure or error
                continue
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.transport.abort()
        if failure is not None:
            raise failure
        return await self._open(timeout)

    async def forget(self) -> None:
        """End all streams that nobody has taken."""
        ahead = tuple(self._ahead)
        self._ahead.clear()
        for opening in ahead:
            opening.cancel()
        for opened in await asyncio.gather(*ahead, return_exceptions=True):
            if not isinstance(opened, BaseException):
                opened[1].transport.abort()

    async def _open(self, timeout: float) -> Stream:
        return await open_stream(self._socks, self._host, self._port, timeout)
