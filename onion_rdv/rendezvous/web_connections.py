"""Connections that carry requests: read with aiohttp's parser, and answered with replies as they were made.

Nothing else of aiohttp's server is used: it would have a task for each connection, objects for each request and
reply, and a voice of its own. A reply is handed to the system in one piece, so nothing here can change its length.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError

from onion_rdv.errors import MalformedRequest
from onion_rdv.protocol.exchange import FETCH_PATH, REQUEST_BODY_SIZE, STORE_PATH, Problem, problem_reply
from onion_rdv.rendezvous.proxy_line import ProxyLine
from onion_rdv.rendezvous.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

    from onion_rdv.rendezvous.circuits import Circuits

_READ_SIZE: Final = 1024
"""Bytes that are read at once: a request, or two that are short."""

_LONGEST: Final = 1024
_MOST_FIELDS: Final = 32
"""Bytes in a line of a head, and its fields: our own clients send far less, and who gives up early holds little."""

_PATHS: Final = (FETCH_PATH, STORE_PATH)
_REQUEST_LENGTH: Final = str(REQUEST_BODY_SIZE)

PROBLEMS: Final = {problem: problem_reply(problem) for problem in Problem}


class _Waits(Enum):
    """What a connection waits for."""

    HEAD = auto()
    """A request, from its first byte to the end of its head."""

    TURN = auto()
    BODY = auto()
    REPLY = auto()
    """Whoever makes the reply."""

    READER = auto()
    """That the other side takes what it was told."""


_OF_THE_OTHER_SIDE: Final = {_Waits.HEAD, _Waits.BODY, _Waits.READER}
"""What is waited for for some time only."""


class Connection(BaseProtocol):
    """One connection: its requests are served one after the other."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        loop = asyncio.get_running_loop()
        parser = HttpRequestParser(
            self,
            loop,
            _LONGEST,
            max_line_size=_LONGEST,
            max_field_size=_LONGEST,
            max_headers=_MOST_FIELDS,
            auto_decompress=False,
        )
        super().__init__(loop, parser)  # where none is left, nothing more is read
        self._line = None if connections.circuits is None else ProxyLine()
        self.circuit: int | None = None
        self._waits = _Waits.HEAD
        self._deadline = 0.0  # of the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._requests: deque[tuple[RawRequestMessage, StreamReader]] = deque()
        """Heads that have come and have not been answered, with their bodies; the first is the one that is served."""
        self._is_held_back = False  # nothing is read before they are
        self._is_malformed = False  # what came behind them

    @property
    def is_idle(self) -> bool:
        """Whether there is no request to be answered."""
        return not self._requests

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; what is written is either with the system or waited for, so that nothing piles up.

        Nor does what is read: asyncio takes 256 KiB at once where they are there, and all of it would wait here while
        the first request in it is answered.
        """
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=0)
        if hasattr(transport, "max_size"):  # not every event loop's transport has it
            transport.max_size = _READ_SIZE
        super().connection_made(transport)
        self._wait(_Waits.HEAD)
        if not self._connections.take_in(self):
            self._refuse(Problem.BUSY)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._parser = None
        self._connections.let_go(self)
        self._connections.turns.leave(self._look)
        if self._timer is not None:
            self._timer.cancel()

    # What comes

    def data_received(self, data: bytes) -> None:
        """Read which circuit this is, where tor says it, and requests."""
        if self._line is not None:
            data = self._read_line(self._line, data)
        if self._parser is None or not data:
            return
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except HttpProcessingError:
            self._is_malformed = True
            self._parser = None
        else:
            self._requests.extend(messages)
            if is_upgraded:  # what comes then may be anything
                self._parser = None
        if self._waits is _Waits.HEAD:
            if self._requests or self._parser is None:
                self._go_on()
        elif self._waits is _Waits.BODY and self._requests[0][1].is_eof():
            self._serve()
        if len(self._requests) > 1 and self.transport is not None:
            self._is_held_back = True
            self.transport.pause_reading()

    def _read_line(self, line: ProxyLine, data: bytes) -> bytes:
        """Read on in tor's line, and give what comes behind it."""
        try:
            found = line.feed(data)
        except MalformedRequest:
            self._refuse(Problem.MALFORMED)
            return b""
        if found is None:
            return b""
        self._line = None
        circuit, rest = found
        if self._connections.circuits is not None and not self._connections.circuits.open(circuit):
            self._refuse(Problem.BUSY)
            return b""
        self.circuit = circuit
        return rest

    # What is done with it

    def _go_on(self) -> None:
        """Serve the next request if it has come; end where none can come."""
        if self._requests:
            self._waits = _Waits.TURN
            if self._connections.has_spoken(self):
                self._look()
            else:
                self._connections.turns.take(self._look)
        elif self._is_malformed:
            self._refuse(Problem.MALFORMED)
        elif self._parser is None:
            self.close()
        else:
            self._wait(_Waits.HEAD)
            if self._is_held_back and self.transport is not None:
                self._is_held_back = False
                self.transport.resume_reading()

    def _look(self) -> None:
        """Look at the head of a request."""
        head, body = self._requests[0]
        if head.path not in _PATHS:
            self._refuse(Problem.UNKNOWN_PATH)
        elif head.method != "POST":
            self._refuse(Problem.METHOD)
        elif head.headers.get("Content-Length") != _REQUEST_LENGTH:
            self._refuse(Problem.LENGTH)
        elif body.is_eof():
            self._serve()
        elif "Expect" in head.headers:
            # A "100 Continue" would be a reply of another length.
            self._refuse(Problem.MALFORMED)
        else:
            self._wait(_Waits.BODY)

    def _serve(self) -> None:
        self._waits = _Waits.REPLY
        head, body = self._requests[0]
        self._connections.serve(self, head.path, body.read_nowait())

    def _refuse(self, problem: Problem) -> None:
        """Answer without looking at the rest of the request; so the connection cannot go on."""
        self.reply(PROBLEMS[problem], closes=True)

    def reply(self, reply: bytes, *, closes: bool = False) -> None:
        """Answer the request that is served, then close or go on; whoever has gone meanwhile is told nothing."""
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write(reply)
        if self._requests:
            head, _ = self._requests.popleft()
            closes = closes or head.should_close
        if closes or self._connections.is_stopping:
            self.close()
        elif self.writing_paused:
            self._wait(_Waits.READER)
        else:
            self._go_on()

    def resume_writing(self) -> None:
        """Go on, since the other side has taken its reply."""
        super().resume_writing()
        if self.transport is not None and not self.transport.is_closing():
            self._go_on()

    def close(self) -> None:
        """End the connection when what was written has been taken; nothing more is read."""
        self._parser = None
        self._wait(_Waits.READER)
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End the connection now."""
        if self.transport is not None:
            self.transport.abort()

    # What is waited for

    def _wait(self, what: _Waits) -> None:
        """Wait for something of the other side, and not for ever."""
        self._waits = what
        self._deadline = self._loop.time() + self._connections.patience
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if self._waits not in _OF_THE_OTHER_SIDE:
            return
        if self._deadline > self._loop.time():
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_clock)
        elif self._waits is _Waits.BODY:
            self._refuse(Problem.TIMEOUT)
        elif self._waits is _Waits.HEAD:
            self.close()
        else:
            self.abort()


class Connections:
    """All connections: at most so many, and those that have not carried a request yet.

    Where there are ``circuits``, every connection begins with tor's line that says on which one it came.
    """

    def __init__(
        self,
        serve: Callable[[Connection, str, bytes], None],
        *,
        max_connections: int,
        patience: float,
        circuits: Circuits | None = None,
    ) -> None:
        """Begin; ``serve`` gets path and body of each request, and has its connection :meth:`Connection.reply` then.

        Whoever has not sent a head ``patience`` seconds after the connection or the last reply was there, a body as
        long after its head, or has not taken a reply, is cut off.
        """
        self.serve = serve
        self.patience = patience
        self.circuits = circuits
        self.turns = Turns(asyncio.get_running_loop())
        self.is_stopping = False
        self._max_connections = max_connections
        self._all: set[Connection] = set()
        self._silent: set[Connection] = set()
        self._fewer = asyncio.Event()

    def __call__(self) -> Connection:
        """Make what asyncio needs for a new connection."""
        return Connection(self)

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._all)

    def take_in(self, connection: Connection) -> bool:
        """Take a connection in; tells whether it is not one too many."""
        self._all.add(connection)
        if len(self._all) > self._max_connections:
            return False
        self._silent.add(connection)
        return True

    def let_go(self, connection: Connection) -> None:
        """Let a connection go."""
        self._all.discard(connection)
        self._silent.discard(connection)
        self._fewer.set()
        if connection.circuit is not None and self.circuits is not None:
            self.circuits.close(connection.circuit)

    def has_spoken(self, connection: Connection) -> bool:
        """Note that a connection carries a request; tells whether it is the first one."""
        if connection not in self._silent:
            return False
        self._silent.remove(connection)
        self._fewer.set()
        return True

    async def stop(self, patience: float) -> None:
        """Answer what is under way, and close; see :meth:`WebFace.stop`."""
        self.is_stopping = True
        await self._wait_until(lambda: not self._silent, patience)
        for connection in list(self._all):
            if connection.is_idle:
                connection.close()
        await self._wait_until(lambda: not self._all, patience)
        for connection in list(self._all):
            connection.abort()

    async def _wait_until(self, enough: Callable[[], bool], patience: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not enough():
                    self._fewer.clear()
                    await self._fewer.wait()
