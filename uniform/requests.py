"""Requests of every outcome, made by the client's own code of the product's own server, over real tors."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Final, Self

from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.errors import RdvError, StoreError
from onion_rdv.protocol import ENTRY_SIZE, bucket_link
from onion_rdv.protocol.exchange import FETCH_PATH, REQUEST_BODY_SIZE, STORE_PATH
from onion_rdv.rendezvous.rules import NO_CEILING, Rules
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.tor.control import Control, connect
from onion_rdv.tor.onion_service import EphemeralService, OnionService, ServiceSettings
from uniform.guard import Eavesdropper, Record, find_relay, watched_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from onion_rdv.rendezvous.store import StoredBucket
    from onion_rdv.tor.socks import SocksPort
    from onion_rdv.tor.testnet import Network

_TIMEOUT: Final = 30.0
_SETTLE: Final = 0.4  # seconds after a reply in which what belongs to the request still passes the guard
_WARM_UP: Final = 3  # requests that a client makes before it is looked at: it fetches the descriptor with the first
_CELL: Final = 498  # bytes of a stream in a cell (tor-spec, "Relay cells")

_ONION_KEY: Final = bytes(range(32))
_REFUSED: Final = b"refuse!\n"
_LONGER: Final = {b"longer!\n": 32, b"longer?\n": 2}  # by how many cells


class Outcome(Enum):
    """What a request was and what became of it."""

    STORED = auto()
    FOUND = auto()
    MISSED = auto()
    STORE_REFUSED = auto()
    FETCH_REFUSED = auto()
    LONGER = auto()
    """Found, in a reply that is 32 cells longer than all others. No server does that, and it has to be noticed.

    An error that was not filled up would be as much shorter.
    """
    A_LITTLE_LONGER = auto()
    """Found, in a reply that is two cells longer: this shows how little is noticed."""


@dataclass(frozen=True)
class Sample:
    """One request as it passed the guard, and what it was; ``began`` is in monotonic seconds."""

    outcome: Outcome
    began: float
    records: tuple[Record, ...]


class Served(SqliteStore):
    """A store that refuses, or gives too much, where a request begins with certain bytes."""

    async def store(self, entry: bytes) -> StoredBucket:
        """Keep an entry, or refuse it."""
        if entry.startswith(_REFUSED):
            raise StoreError("it was asked to")
        return await super().store(entry)

    async def fetch(self, link: bytes) -> bytes | None:
        """Give a bucket, refuse to, or give the one there is and more."""
        if link.startswith(_REFUSED):
            raise StoreError("it was asked to")
        more = _LONGER.get(link[: len(_REFUSED)], 0)
        found = await super().fetch(self.known if more else link)
        return found and found + secrets.token_bytes(more * _CELL)

    known: bytes
    """The link of a bucket that is there."""


class Server:
    """A server on the private network."""

    def __init__(self, address: str, known: bytes) -> None:
        self._server = RendezvousServer.parse(address)
        self._known = known

    @classmethod
    @asynccontextmanager
    async def running(cls, network: Network, directory: Path) -> AsyncIterator[Self]:
        """Serve while the block runs; what is kept is kept below ``directory``."""

        async def open_control() -> Control:
            return await connect(network.service_control)

        async with AsyncExitStack() as cleanup:
            store = await Served.open(directory / "store.db", _ONION_KEY, Rules(ceiling=NO_CEILING))
            cleanup.push_async_callback(store.close)
            stored = await store.store(secrets.token_bytes(ENTRY_SIZE))
            store.known = await asyncio.to_thread(bucket_link, stored.bucket_id, _ONION_KEY)
            face = WebFace(store)
            await face.start(directory / "socket", 0o600)
            cleanup.push_async_callback(face.stop)
            way = EphemeralService(ServiceSettings(directory / "socket"), directory / "key")
            service = OnionService(way, open_control)
            await service.publish()
            cleanup.push_async_callback(service.stop)
            yield cls(service.address, store.known)

    def request(self, outcome: Outcome) -> tuple[str, bytes]:
        """Give the path and body that lead to an outcome."""
        longer, a_little_longer = _LONGER
        start = {
            Outcome.FOUND: self._known,
            Outcome.STORE_REFUSED: _REFUSED,
            Outcome.FETCH_REFUSED: _REFUSED,
            Outcome.LONGER: longer,
            Outcome.A_LITTLE_LONGER: a_little_longer,
        }.get(outcome, b"")
        path = STORE_PATH if outcome in {Outcome.STORED, Outcome.STORE_REFUSED} else FETCH_PATH
        return path, start + secrets.token_bytes(REQUEST_BODY_SIZE - len(start))

    async def ask(self, socks: SocksPort, outcome: Outcome) -> None:
        """Make a request once; raises :class:`~onion_rdv.errors.RdvError` where there is no reply."""
        client = RendezvousClient(socks, self._server, _TIMEOUT)
        await client._try_to_post(*self.request(outcome), time.monotonic() + _TIMEOUT)


async def watch(
    network: Network,
    directory: Path,
    outcomes: list[Outcome],
    *,
    clients: int,
    each: int,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Sample]:
    """Make ``each`` requests of every outcome, in any order, by some clients at once; give what passed their guards.

    ``tell`` is told how many there are so far. A request that Tor lets fail is made again, and is none of those.
    """
    todo = outcomes * each
    Random().shuffle(todo)
    samples: list[Sample] = []

    async def be_a_client(server: Server, socks: SocksPort, guard: Eavesdropper) -> None:
        for _ in range(_WARM_UP):
            with suppress(RdvError):
                await server.ask(socks, Outcome.FOUND)
        await asyncio.sleep(_SETTLE)
        while todo:
            outcome = todo.pop()
            seen, began = len(guard.records), time.monotonic()
            try:
                await server.ask(socks, outcome)
            except RdvError:
                todo.append(outcome)
                continue
            await asyncio.sleep(_SETTLE)
            samples.append(Sample(outcome, began, tuple(guard.records[seen:])))
            tell(len(samples))

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server.running(network, directory))
        relay = await find_relay(network, "relay1")
        watched = await asyncio.gather(
            *(
                stack.enter_async_context(watched_client(network, directory / f"client{number}", relay))
                for number in range(clients)
            )
        )
        await asyncio.gather(*(be_a_client(server, socks, guard) for socks, guard in watched))
    return samples
