"""The web face of a store: two requests, and replies that all have the same number of bytes.

Nothing is logged about a request, and nothing is read beyond its 256 bytes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from onion_rdv.errors import StoreError
from onion_rdv.protocol.exchange import (
    FETCH_PATH,
    REQUEST_BODY_SIZE,
    STORE_PATH,
    Problem,
    bucket_reply,
    parse_fetch,
    parse_store,
    stored_reply,
)
from onion_rdv.rendezvous.circuits import Circuits
from onion_rdv.rendezvous.limits import DEFAULT_MAX_CONNECTIONS, DEFAULT_REQUEST_TIMEOUT
from onion_rdv.rendezvous.turns import Turns
from onion_rdv.rendezvous.web_connections import PROBLEMS, Connection, Http, Reply
from onion_rdv.tor.onion_service.listening import BACKLOG, UnixListener

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from aiohttp import web

    from onion_rdv.rendezvous.limits import CircuitLimits
    from onion_rdv.rendezvous.store import BucketStore

_PATHS: Final = (FETCH_PATH, STORE_PATH)
_REQUEST_LENGTH: Final = str(REQUEST_BODY_SIZE)


class WebFace:
    """Serves a store over HTTP on a Unix socket."""

    def __init__(
        self,
        store: BucketStore,
        *,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT,
        circuits: CircuitLimits | None = None,
    ) -> None:
        """Prepare to serve ``store``, which stays the caller's to close after :meth:`stop`.

        ``max_connections`` may be open at once; the next one is told "busy" and closed. ``request_timeout`` is in
        seconds; who has not sent a request by then, or does not take the reply, is cut off. ``circuits`` is what one
        circuit may do; then every connection has to begin with tor's line that says on which it came.
        """
        self._store = store
        self._patience = request_timeout / 2
        self._max_connections = max_connections
        self._limits = circuits
        self._circuits: Circuits | None = None
        self._turns: Turns
        self._stopping = False
        self._listener: UnixListener | None = None
        self._http: Http
        self._server: asyncio.Server

    async def start(self, path: Path, mode: int) -> None:
        """Listen at ``path`` with this mode; raises as :class:`UnixListener` does."""
        self._listener = UnixListener(path, mode)
        await self.start_on(self._listener.socket)

    async def start_on(self, listener: socket.socket) -> None:
        """Serve on a Unix stream socket that listens already; it is closed by :meth:`stop`, its name stays."""
        loop = asyncio.get_running_loop()
        self._turns = Turns(loop)
        if self._limits is not None:
            self._circuits = Circuits(self._limits, loop.call_later)
        self._http = Http(
            self._answer,
            max_connections=self._max_connections,
            patience=self._patience,
            circuits=self._circuits,
        )
        # From Python 3.13 on, asyncio would take the name away by itself, also one that is not ours.
        keep_name: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await loop.create_unix_server(self._http, sock=listener, **keep_name)
        listener.listen(BACKLOG)  # asyncio has made it 100

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._http.open

    async def stop(self, patience: float = 5.0) -> None:
        """Accept nothing more, answer what is under way, and close.

        A stream that has come and not yet carried a request gets ``patience`` seconds for it: its request is on its
        way through Tor.
        """
        self._stopping = True
        if self._listener is not None:
            self._listener.unlink()
        self._server.close()
        await self._http.wait_for_the_silent(patience)
        self._http.pre_shutdown()
        await self._http.shutdown(patience)
        await self._server.wait_closed()
        if self._circuits is not None:
            self._circuits.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._http.is_silent(request.protocol):
            self._http.has_spoken(request.protocol)
        else:
            await self._turns.take()
        path = request.raw_path
        if path not in _PATHS:
            return self._refuse(Problem.UNKNOWN_PATH)
        if request.method != "POST":
            return self._refuse(Problem.METHOD)
        if request.headers.get("Content-Length") != _REQUEST_LENGTH:
            return self._refuse(Problem.LENGTH)
        content = request.content
        if content.is_eof():
            body = content.read_nowait()
        elif "Expect" in request.headers:
            # A "100 Continue" would be a reply of another length.
            return self._refuse(Problem.MALFORMED)
        else:
            try:
                async with asyncio.timeout(self._patience):
                    body = await content.readexactly(REQUEST_BODY_SIZE)
            except TimeoutError:
                return self._refuse(Problem.TIMEOUT)
        served = await self._serve(path, body, request.protocol)
        return Reply(served, self._patience, closes=self._stopping)

    async def _serve(self, path: str, body: bytes, connection: web.RequestHandler) -> bytes:
        try:
            if path == FETCH_PATH:
                bucket = await self._store.fetch(parse_fetch(body))
                return PROBLEMS[Problem.BUCKET_UNKNOWN] if bucket is None else bucket_reply(bucket)
            if not self._may_store(connection):
                return PROBLEMS[Problem.BUSY]
            stored = await self._store.store(parse_store(body))
            return stored_reply(stored.bucket_id, stored.bucket)
        except StoreError:  # the store itself has logged why
            return PROBLEMS[Problem.BUSY]

    def _may_store(self, connection: web.RequestHandler) -> bool:
        circuit = connection.circuit if isinstance(connection, Connection) else None
        return self._circuits is None or circuit is None or self._circuits.may_store(circuit)

    def _refuse(self, problem: Problem) -> Reply:
        """Answer without looking at the rest of the request; so the connection cannot go on."""
        return Reply(PROBLEMS[problem], self._patience, closes=True)
