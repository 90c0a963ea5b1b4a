"""Two ends of a talk in a test's own process, at a messaging server of its own, over streams that can be cut."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smp_server import Running, running
from socks_proxy import RecordingSocks

from onion_rdv.client.talk import events
from onion_rdv.client.talk.opening import begin, join
from onion_rdv.smp.wire.address import SmpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.client.talk.events import Event
    from onion_rdv.client.talk.link import TalkLink
    from onion_rdv.tor.socks import SocksPort

HOST = "messaging.example"
PATIENCE = 30
TIMEOUT = 10


class Streams:
    """What every stream of a SOCKS port leads to: a Unix socket, until it is cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: set[asyncio.StreamWriter] = set()
        self.is_cut_off = False
        self.is_frozen = False
        self.count = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        if self.is_cut_off:
            return
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            return
        self._open |= {writer, there_writer}
        try:
            await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))
        finally:
            self._open -= {writer, there_writer}
            there_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.is_frozen:  # else it is lost, and nobody learns of it
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        """End all streams without a word, as when a circuit breaks."""
        for writer in tuple(self._open):
            writer.transport.abort()


@dataclass
class Person:
    """One end, and what it has heard of."""

    happened: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _talk: Talk | None = None
    running: asyncio.Task[None] | None = None

    def tell(self, event: Event) -> None:
        self.happened.append(event)
        self._news.set()

    @property
    def talk(self) -> Talk:
        assert self._talk is not None
        return self._talk

    @property
    def link(self) -> TalkLink:
        return self.talk.link

    @property
    def heard(self) -> list[str]:
        return [event.text for event in self.happened if isinstance(event, events.Said)]

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.happened)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                if self.running is not None and self.running.done():
                    self.running.result()
                    raise AssertionError("the talk has ended")
                self._news.clear()
                await self._news.wait()

    async def hears_of(self, kind: type[Event], times: int = 1) -> None:
        await self.until(lambda: self.count(kind) >= times)

    async def end(self) -> None:
        """Wait for the end of the talk; raises what it ends with."""
        assert self.running is not None
        async with asyncio.timeout(PATIENCE):
            await self.running


@dataclass
class House:
    """A messaging server, and for each end a way to it."""

    server: Running
    place: SmpServer
    ways: tuple[Streams, Streams]
    ports: tuple[RecordingSocks, RecordingSocks]
    _directory: Path
    _running: AsyncExitStack

    @asynccontextmanager
    async def two(self) -> AsyncIterator[tuple[Person, Person]]:
        """Let two people meet."""
        first, second = (port.socks for port in self.ports)
        async with beginning(first, self.place) as one, joining(one.link, second) as other:
            await one.hears_of(events.Met)
            await other.hears_of(events.Met)
            yield one, other

    async def queues(self) -> int:
        """Count the queues that are left at the server."""
        return await self.server.store.count()

    async def restart(self) -> None:
        """Stop the server, and start it again."""
        await self._running.aclose()
        self.server = await self._running.enter_async_context(running(self._directory))


@asynccontextmanager
async def house(directory: Path, **settings: Any) -> AsyncIterator[House]:
    """Run a messaging server that two ends reach over streams of their own."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(directory, **settings))
        ways = Streams(server.path), Streams(server.path)
        async with RecordingSocks([ways[0]]) as first, RecordingSocks([ways[1]]) as second:
            place = SmpServer(server.face.fingerprint, (HOST,))
            yield House(server, place, ways, (first, second), directory, stack)


@asynccontextmanager
async def beginning(socks: SocksPort, server: SmpServer, *, timeout: float = TIMEOUT) -> AsyncIterator[Person]:
    """Begin a talk, and run it while the block runs."""
    person = Person()
    async with begin(socks, server, timeout=timeout, tell=person.tell) as person._talk, _running(person):
        yield person


@asynccontextmanager
async def joining(
    link: TalkLink, socks: SocksPort, server: SmpServer | None = None, *, timeout: float = TIMEOUT
) -> AsyncIterator[Person]:
    """Join a talk, and run it while the block runs."""
    person = Person()
    async with join(link, socks, server, timeout=timeout, tell=person.tell) as person._talk, _running(person):
        yield person


@asynccontextmanager
async def _running(person: Person) -> AsyncIterator[None]:
    person.running = asyncio.create_task(person.talk.run())
    person.running.add_done_callback(lambda _: person._news.set())
    try:
        yield
    finally:
        person.running.cancel()
        await asyncio.wait([person.running])
