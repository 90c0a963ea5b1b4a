"""Ports that misbehave in ways a real tor cannot be made to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class FakeControlPort:
    """What takes connections where a control port should be.

    It sends ``greeting``; then it hangs up (``hangs_up``), or answers each line that begins like a key of
    ``replies`` with the value, and is silent to every other line.
    """

    greeting: bytes = b""
    replies: dict[bytes, bytes] = field(default_factory=dict)
    hangs_up: bool = False
    received: list[bytes] = field(default_factory=list)
    address: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeControlPort]:
        """Listen while the block runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        try:
            while not self.hangs_up and (line := await reader.readline()):
                self.received.append(line)
                for beginning, reply in self.replies.items():
                    if line.startswith(beginning):
                        writer.write(reply)
        except ConnectionError:
            pass
        finally:
            writer.close()
