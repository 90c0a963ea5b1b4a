"""What somebody sees who sits between a person's tor and its guard: sizes and directions of TLS records, and when.

A tor is told that a relay of the private network is its bridge, at an address where this listens and passes
everything on. So all its circuits begin with that relay, as they do with a guard; and looking on takes no root.
"""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from onion_rdv.tor.control import connect
from onion_rdv.tor.own_tor import launch
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

    from onion_rdv.tor.testnet import Network

_TIMEOUT: Final = 60.0
_HEADER: Final = 5  # bytes before each record: its type, a version, and how long it is (RFC 8446, section 5.1)


class Record(NamedTuple):
    """A TLS record: its bytes, negative if it comes from the guard, and when its last byte came (monotonic)."""

    size: int
    at: float


@dataclass(frozen=True)
class Relay:
    """A relay of the network."""

    host: str
    port: int
    fingerprint: str


@dataclass
class Eavesdropper:
    """Listens on 127.0.0.1, passes on to a relay and back, and notes the records."""

    relay: Relay
    records: list[Record] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # asyncio runs this as one
            raise AssertionError
        self._tasks.add(task)
        writers = [writer]
        try:
            there_reader, there_writer = await asyncio.open_connection(self.relay.host, self.relay.port)
            writers.append(there_writer)
            await asyncio.gather(self._copy(reader, there_writer, 1), self._copy(there_reader, writer, -1))
        except (OSError, asyncio.CancelledError):  # there is nobody who would want to hear of it
            pass
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.close()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: int) -> None:
        pending = bytearray()
        while data := await source.read(65536):
            now = time.monotonic()
            sink.write(data)
            pending += data
            while len(pending) >= _HEADER and len(pending) >= (size := _HEADER + int.from_bytes(pending[3:5])):
                self.records.append(Record(direction * size, now))
                del pending[:size]
            await sink.drain()
        with suppress(OSError):
            sink.write_eof()


async def find_relay(network: Network, name: str) -> Relay:
    """Give the relay with this nickname, as the consensus has it (dir-spec, "r" lines)."""
    async with await connect(network.client_control) as control:
        line = (await control.info(f"ns/name/{name}")).strip().splitlines()[0]
    _, _, identity, _, _, _, host, port, _ = line.split()
    return Relay(host, int(port), base64.b64decode(identity + "=").hex().upper())


@asynccontextmanager
async def watched_client(
    network: Network, directory: Path, relay: Relay
) -> AsyncIterator[tuple[SocksPort, Eavesdropper]]:
    """Run a tor whose guard is this relay, and look on; gives its SOCKS port. All it needs is below ``directory``."""
    async with Eavesdropper(relay) as eavesdropper:
        torrc = directory.with_suffix(".torrc")
        bridge = f"UseBridges 1\nBridge 127.0.0.1:{eavesdropper.port} {relay.fingerprint}\n"
        torrc.write_text(network.torrc.read_text() + bridge)
        tor = await launch(directory, socks=True, extra_torrc=torrc, timeout=_TIMEOUT)
        try:
            if tor.socks is None:  # it was asked for
                raise AssertionError
            yield SocksPort.parse(tor.socks), eavesdropper
        finally:
            await tor.stop()
