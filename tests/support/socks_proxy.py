"""A SOCKS port that records what it is asked and answers as it is told: where tor cannot be made to misbehave."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from closing import end, refuse

from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from types import TracebackType

DOMAIN_NAME = 3
CONNECT, RESOLVE = 1, 0xF0

DEATH = -1
"""What is no answer: tor dies, and nobody listens at its port any more."""

SILENCE = -2
"""What is no answer either: tor says nothing, as while a circuit leads nowhere."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """One SOCKS request."""

    credentials: tuple[bytes, bytes]
    command: int
    address_type: int
    host: str
    port: int


@dataclass
class RecordingSocks:
    """Listens on 127.0.0.1; every host leads to ``answers``: a code to refuse with, a Unix socket, or a function.

    Answers are used up from the front; the last one stays.
    """

    answers: list[int | Path | Handler]
    knows_resolve: bool = True
    requests: list[Request] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_dead = False
        self.socks = SocksPort("127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(self._server)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def connects(self) -> list[Request]:
        """The requests for a stream."""
        return [request for request in self.requests if request.command == CONNECT]

    def die(self) -> None:
        """Listen no more, and end all streams but that of who calls this, which is for the caller to end."""
        self._is_dead = True
        refuse(self._server)
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    async def rise(self) -> None:
        """Listen again, after :meth:`die`."""
        await end(self._server)
        self._is_dead = False
        self._server = await asyncio.start_server(self._serve, self.socks.host, self.socks.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._is_dead:  # it may have died since this one was let in
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        username = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x01\x00")
        _, command, _, address_type = await reader.readexactly(4)
        if address_type == DOMAIN_NAME:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if address_type == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2))
        self.requests.append(Request((username, password), command, address_type, host, port))
        if command == RESOLVE and self.knows_resolve:
            writer.write(b"\x05\x00\x00\x01" + ipaddress.ip_address(host).packed + b"\0\0")
            await writer.drain()
            return
        if command != CONNECT:
            writer.write(b"\x05\x07\x00\x01" + bytes(6))
            await writer.drain()
            return
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if answer == DEATH:
            self.die()
            return
        if answer == SILENCE:
            await reader.read()
            return
        code = answer if isinstance(answer, int) else 0
        writer.write(bytes([5, code, 0, 1]) + bytes(6))
        await writer.drain()
        if isinstance(answer, Path):
            await _join(reader, writer, answer)
        elif not isinstance(answer, int):
            await answer(reader, writer)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path) -> None:
    there_reader, there_writer = await asyncio.open_unix_connection(path)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()

    try:
        await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer), return_exceptions=True)
    finally:
        there_writer.close()
        with suppress(OSError):
            await there_writer.wait_closed()
