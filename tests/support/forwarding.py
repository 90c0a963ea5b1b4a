"""Ports whose connections are passed on somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from closing import end, refuse

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection; whoever calls it closes the connection afterwards."""


@asynccontextmanager
async def served(ports: Iterable[tuple[socket.socket, Serve]]) -> AsyncIterator[Callable[[], None]]:
    """Serve these listening sockets while the block runs, or until what this gives is called: then they are gone."""
    connections: set[asyncio.Task[None]] = set()
    servers = [await asyncio.start_server(_one_of(connections, serve), sock=listener) for listener, serve in ports]

    def stop_listening() -> None:
        for server in servers:
            refuse(server)

    try:
        yield stop_listening
    finally:
        for server in servers:
            await end(server)
        for connection in tuple(connections):
            connection.cancel()
        await asyncio.gather(*connections)


def _one_of(connections: set[asyncio.Task[None]], serve: Serve) -> Serve:
    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(asyncio.CancelledError):
            try:
                await serve(reader, writer)
            finally:
                await close(writer)
        connections.discard(task)

    return serve_one


def leading_to(address: str) -> Serve:
    """Give what serves a port by passing everything on to another (``127.0.0.1:PORT``)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = address.rpartition(":")
        try:
            there, to_there = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        try:
            await asyncio.gather(copy(reader, to_there), copy(there, writer))
        finally:
            await close(to_there)

    return serve


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> int:
    """Pass everything on in one direction, and the end too; gives how many bytes that were."""
    passed = 0
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            passed += len(data)
            await sink.drain()
    with suppress(OSError):
        sink.write_eof()
    return passed


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a stream, and wait until it is."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
