"""What clients send to the rendezvous server, byte by byte as its socket gets it."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fuzz.harness import harness, pieces
from onion_rdv.protocol import BUCKET_SIZE, BucketId
from onion_rdv.protocol.exchange import REPLY_SIZE, Problem, bucket_reply, problem_reply, stored_reply
from onion_rdv.rendezvous.limits import CircuitLimits
from onion_rdv.rendezvous.store import StoredBucket
from onion_rdv.rendezvous.web import WebFace

if TYPE_CHECKING:
    from onion_rdv.rendezvous.web_connections import Connection

BUCKET: Final = bytes(BUCKET_SIZE)
ID: Final = BucketId(1, 0)
LINK: Final = b"L" * 16
"""The one bucket that there is."""

_GOOD: Final = frozenset({bucket_reply(BUCKET), stored_reply(ID, BUCKET)})
_REPLIES: Final = _GOOD | {problem_reply(problem) for problem in Problem if problem is not Problem.INTERNAL}
_TURNS: Final = 30
"""How often the event loop has to go round until all is answered that was sent; 12 are enough."""


class _Store:
    """Keeps nothing, and is never slow."""

    async def store(self, entry: bytes) -> StoredBucket:
        assert len(entry) == 256
        return StoredBucket(ID, BUCKET)

    async def fetch(self, link: bytes) -> bytes | None:
        assert len(link) == 16
        return BUCKET if link == LINK else None


class _Transport(asyncio.Transport):
    """A connection whose other side reads all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def pause_reading(self) -> None:
        """What comes next is there already."""

    def resume_reading(self) -> None:
        """The same."""


class _Fault(logging.Handler):
    """Makes an error of whatever is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class _Server:
    """A web face on an event loop of its own, with or without the lines that name circuits."""

    def __init__(self, *, circuits: bool) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults = _Fault()
        for name in ("onion_rdv.rendezvous", "asyncio"):
            logging.getLogger(name).addHandler(self.faults)
        limits = CircuitLimits(streams=16) if circuits else None
        self.face = WebFace(_Store(), circuits=limits)  # type: ignore[arg-type]  # what requests need of a store
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(Path(place) / "web"))
            listener.listen()
            await self.face.start_on(listener)

    def hear(self, sent: list[bytes]) -> bytes:
        """Give all that is answered to these pieces on one connection."""
        return self.loop.run_until_complete(self._hear(sent))

    async def _hear(self, sent: list[bytes]) -> bytes:
        transport = _Transport()
        connection: Connection = self.face._connections()
        connection.connection_made(transport)
        for piece in sent:
            if transport.closed:
                break
            connection.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        assert self.face.connections == 0
        assert not self.faults.said, self.faults.said
        return transport.written


@cache
def _server(*, circuits: bool) -> _Server:
    return _Server(circuits=circuits)


def _ask(data: bytes, *, circuits: bool) -> bool:
    written = _server(circuits=circuits).hear(pieces(data))
    assert len(written) % REPLY_SIZE == 0
    replies = {written[start : start + REPLY_SIZE] for start in range(0, len(written), REPLY_SIZE)}
    assert replies <= _REPLIES
    return bool(replies & _GOOD)


@harness
def requests(data: bytes) -> bool:
    """Whatever a client sends is answered in replies of one size, and of the few that there are, or not at all."""
    return _ask(data, circuits=False)


@harness
def requests_on_circuits(data: bytes) -> bool:
    """The same where tor names the circuit before."""
    return _ask(data, circuits=True)
