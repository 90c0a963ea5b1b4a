"""aiohttp's low-level server, kept from saying or logging anything of its own, and told of circuits.

A :class:`Reply` is written as it was made, so nothing here can change its length. That holds for what aiohttp answers
by itself too (malformed HTTP, faults inside): :meth:`Connection.handle_error` is where it makes such answers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from onion_rdv.errors import MalformedRequest
from onion_rdv.protocol.exchange import Problem, problem_reply
from onion_rdv.rendezvous.proxy_line import ProxyLine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onion_rdv.rendezvous.circuits import Circuits

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_READ_SIZE: Final = 1024
"""Bytes that are read at once: a request, or two that are short."""

PROBLEMS: Final = {problem: problem_reply(problem) for problem in Problem}


class Reply(web.StreamResponse):
    """A reply made elsewhere, from its status line to its last byte."""

    def __init__(self, data: bytes, patience: float, *, closes: bool = False) -> None:
        """Prepare to write ``data``, to wait ``patience`` seconds until it is taken, and perhaps to close then."""
        super().__init__()
        self._data = data
        self._patience = patience
        self._closes = closes

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow."""
        return not self._closes

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write it all; raises :class:`ConnectionResetError` when the other side has gone or does not read."""
        self._closes = self._closes or not request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(self._data)
        if request.protocol.writing_paused:
            try:
                async with asyncio.timeout(self._patience):
                    await request.writer.drain()
            except TimeoutError:
                transport.abort()
                raise ConnectionResetError from None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing; all is written."""


class Connection(web.RequestHandler):
    """One connection."""

    def __init__(self, http: Http, patience: float) -> None:
        """Begin; who sends nothing for ``patience`` seconds, or only a part of a head, is cut off."""
        super().__init__(
            http,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=patience,
            access_log=cast("logging.Logger", None),
            lingering_time=0,  # what is left of a refused request is not read
            read_bufsize=1024,
            auto_decompress=False,
            # Our own clients send far less; a parser that gives up early holds little for those who send more.
            max_line_size=1024,
            max_field_size=1024,
            max_headers=32,
        )
        # Who sends many requests at once is not read from before they are answered (aiohttp would take in 32).
        self._max_msg_queue_size = 2
        self._msg_queue_resume_size = 0
        self._http = http
        self._patience = patience
        self._line = None if http.circuits is None else ProxyLine()
        self.circuit: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; what is written is either with the system or waited for, so that nothing piles up.

        Nor does what is read: asyncio takes 256 KiB at once where they are there, and all of it would wait here while
        the first request in it is answered.
        """
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=0)
        if hasattr(transport, "max_size"):  # not every event loop's transport has it
            transport.max_size = _READ_SIZE
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read which circuit this is, where tor says it, and hand on the rest."""
        if self._line is not None and self.transport is not None:
            try:
                found = self._line.feed(data)
            except MalformedRequest:
                self._turn_away(Problem.MALFORMED)
                return
            if found is None:
                return
            self._line = None
            circuit, data = found
            if self._http.circuits is not None and not self._http.circuits.open(circuit):
                self._turn_away(Problem.BUSY)
                return
            self.circuit = circuit
        if data:
            super().data_received(data)

    def _turn_away(self, problem: Problem) -> None:
        if self.transport is not None:
            self.transport.write(PROBLEMS[problem])
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Give the reply to what is no HTTP (status 400), or to a request that met a fault in here."""
        if status == 400:
            return Reply(PROBLEMS[Problem.MALFORMED], self._patience, closes=True)
        if not isinstance(exc, ConnectionError):  # the other side has gone: no fault, and nobody to hear the reply
            self.log_exception(exc_info=exc)
        return Reply(PROBLEMS[Problem.INTERNAL], self._patience, closes=True)

    def log_exception(self, *_: object, exc_info: object = None, **__: object) -> None:
        """Say that something is broken, but nothing of the request that showed it."""
        _LOGGER.error("a request met a fault inside (%s)", type(exc_info).__name__)

    def log_debug(self, *_: object, **__: object) -> None:
        """Say nothing."""


class Http(web.Server):
    """All connections: at most so many, and those that have not carried a request yet.

    Where there are ``circuits``, every connection begins with tor's line that says on which one it came.
    """

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        max_connections: int,
        patience: float,
        circuits: Circuits | None = None,
    ) -> None:
        super().__init__(answer)
        self.circuits = circuits
        self._max_connections = max_connections
        self._patience = patience
        self.open = 0
        self._silent: set[web.RequestHandler] = set()
        self._no_longer_silent: asyncio.Future[None] | None = None

    def __call__(self) -> Connection:
        """Make what asyncio needs for a new connection."""
        return Connection(self, self._patience)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection in, or tell it that there are too many."""
        super().connection_made(handler, transport)
        self.open += 1
        if self.open > self._max_connections:
            transport.write(PROBLEMS[Problem.BUSY])
            # Not at once: the connection would be gone before aiohttp's task for it has begun, which then fails.
            asyncio.get_running_loop().call_soon(handler.force_close)
        else:
            self._silent.add(handler)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Let a connection go."""
        super().connection_lost(handler, exc)
        self.open -= 1
        circuit = handler.circuit if isinstance(handler, Connection) else None
        if circuit is not None and self.circuits is not None:
            self.circuits.close(circuit)
        self.has_spoken(handler)

    def is_silent(self, handler: web.RequestHandler) -> bool:
        """Whether a connection has not carried a request yet."""
        return handler in self._silent

    def has_spoken(self, handler: web.RequestHandler) -> None:
        """Note that a connection carried a request, or never will."""
        self._silent.discard(handler)
        if self._no_longer_silent is not None and not self._silent and not self._no_longer_silent.done():
            self._no_longer_silent.set_result(None)

    async def wait_for_the_silent(self, patience: float) -> None:
        """Wait until every connection has carried a request or gone, but no longer than ``patience`` seconds."""
        if self._silent:
            self._no_longer_silent = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._no_longer_silent], timeout=patience)
