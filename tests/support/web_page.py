"""A page behind an onion service, which counts what it is asked: a server that a link can lead to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from closing import end

from onion_rdv.tor import control
from onion_rdv.tor.onion_service import EphemeralService, OnionService, ServiceSettings

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_MAX_HEAD = 8192


class WebPage:
    """Answers every request with an empty page; ``requests`` are the request lines that it has seen."""

    def __init__(self, directory: Path, control_address: str) -> None:
        """Keep key and socket in ``directory``, and publish through the tor with this control port."""
        self.requests: list[str] = []
        self._socket = directory / "messaging.socket"
        settings = ServiceSettings(self._socket)
        self._onion = OnionService(
            EphemeralService(settings, directory / "messaging.key"), lambda: control.connect(control_address)
        )

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._answer, self._socket, limit=_MAX_HEAD)
        await self._onion.publish()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._onion.stop()
        await end(self._server)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """The onion address."""
        return self._onion.address

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.split(b" HTTP/")[0].decode("ascii", "replace"))
            writer.write(_REPLY)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()
