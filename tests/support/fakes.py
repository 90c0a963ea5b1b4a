"""Ports that misbehave in ways a real tor cannot be made to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from closing import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], port: int = 0
) -> AsyncIterator[str]:
    """Listen on a port of 127.0.0.1, a free one where none is given; gives the address."""
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        await end(server)
        await server.wait_closed()


@dataclass
class FakeControlPort:
    """What takes connections where a control port should be.

    It sends ``greeting``; then it hangs up (``hangs_up``), or answers each line that begins like a key of
    ``replies`` with the value, and is silent to every other line. ``hangs_up_at`` is the beginning of a line at which
    it hangs up.
    """

    greeting: bytes = b""
    replies: dict[bytes, bytes] = field(default_factory=dict)
    hangs_up: bool = False
    hangs_up_at: bytes = b"\n"
    received: list[bytes] = field(default_factory=list)
    address: str = ""

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[FakeControlPort]:
        """Listen while the block runs, on a free port where none is given."""
        async with _listening(self._serve, port) as self.address:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        try:
            while not self.hangs_up and (line := await reader.readline()):
                self.received.append(line)
                if line.startswith(self.hangs_up_at):
                    break
                for beginning, reply in self.replies.items():
                    if line.startswith(beginning):
                        writer.write(reply)
        except ConnectionError:
            pass
        finally:
            writer.close()


@dataclass
class OlderTor:
    """Stands before a tor's control port and makes it look older, or less reliable.

    A line that contains a key of ``refused`` never reaches tor and is answered with the value; in what tor says,
    every key of ``altered`` is replaced by its value. :meth:`cut` ends all connections.
    """

    behind: str
    refused: dict[bytes, bytes] = field(default_factory=dict)
    altered: dict[bytes, bytes] = field(default_factory=dict)
    received: list[bytes] = field(default_factory=list)
    address: str = ""
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """End all connections, as when tor is killed."""
        for writer in self._open:
            writer.transport.abort()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[OlderTor]:
        """Listen while the block runs."""
        async with _listening(self._serve) as self.address:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.behind.rpartition(":")
        try:
            tor_reader, tor_writer = await asyncio.open_connection(host, port)
        except OSError:  # tor is being restarted
            writer.close()
            return
        answering = asyncio.create_task(self._answer(tor_reader, writer))
        self._open.add(writer)
        try:
            with suppress(ConnectionError):
                while line := await reader.readline():
                    self.received.append(line)
                    refusal = next((reply for part, reply in self.refused.items() if part in line), None)
                    (tor_writer if refusal is None else writer).write(line if refusal is None else refusal)
        finally:
            self._open.discard(writer)
            answering.cancel()
            tor_writer.close()
            writer.close()

    async def _answer(self, tor_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                while line := await tor_reader.readline():
                    for said, altered in self.altered.items():
                        line = line.replace(said, altered)
                    writer.write(line)
        finally:
            writer.close()
