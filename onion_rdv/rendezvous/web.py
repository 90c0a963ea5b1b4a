"""The web face of a store: two requests, and replies that all have the same number of bytes.

Nothing is logged about a request, and nothing is read beyond its 256 bytes.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from onion_rdv.errors import StoreError
from onion_rdv.protocol.exchange import (
    FETCH_PATH,
    Problem,
    bucket_reply,
    parse_fetch,
    parse_store,
    stored_reply,
)
from onion_rdv.rendezvous.circuits import Circuits
from onion_rdv.rendezvous.limits import DEFAULT_MAX_CONNECTIONS, DEFAULT_REQUEST_TIMEOUT
from onion_rdv.rendezvous.web_connections import PROBLEMS, Connection, Connections
from onion_rdv.tor.onion_service.accepting import accept_no_more, accept_on
from onion_rdv.tor.onion_service.listening import UnixListener

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable
    from pathlib import Path

    from onion_rdv.rendezvous.limits import CircuitLimits
    from onion_rdv.rendezvous.store import BucketStore, StoredBucket

_LOGGER = logging.getLogger("onion_rdv.rendezvous")


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
        self._listener: UnixListener | None = None
        self._connections: Connections
        self._server: asyncio.Server
        self._stored: StoredBucket | None = None  # what was answered last, and how
        self._stored_reply = b""

    async def start(self, path: Path, mode: int) -> None:
        """Listen at ``path`` with this mode; raises as :class:`UnixListener` does."""
        self._listener = UnixListener(path, mode)
        await self.start_on(self._listener.socket)

    async def start_on(self, listener: socket.socket) -> None:
        """Serve on a Unix stream socket that listens already; it is closed by :meth:`stop`, its name stays."""
        if self._limits is not None:
            self._circuits = Circuits(self._limits, asyncio.get_running_loop().call_later)
        self._connections = Connections(
            self._serve,
            max_connections=self._max_connections,
            patience=self._patience,
            circuits=self._circuits,
        )
        self._server = await accept_on(listener, self._connections)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._connections.open

    async def stop(self, patience: float = 5.0) -> None:
        """Accept nothing more, answer what is under way, and close.

        A stream that has come and not yet carried a request gets ``patience`` seconds for it: its request is on its
        way through Tor.
        """
        if self._listener is not None:
            self._listener.unlink()
        await accept_no_more(self._server)
        await self._connections.stop(patience)
        await self._server.wait_closed()
        if self._circuits is not None:
            self._circuits.stop()

    def _serve(self, connection: Connection, path: str, body: bytes) -> None:
        """Answer a request now, or when the store has."""
        try:
            answer = asyncio.ensure_future(self._ask(connection, path, body))
        except Exception as error:  # noqa: BLE001  # whatever it is, it has to be answered
            _tell(connection, error)
            return
        if answer.done():
            self._answer(connection, answer)
        else:
            answer.add_done_callback(partial(self._answer, connection))

    def _ask(self, connection: Connection, path: str, body: bytes) -> Awaitable[StoredBucket | bytes | None]:
        if path == FETCH_PATH:
            return self._store.fetch(parse_fetch(body))
        circuit = connection.circuit
        if self._circuits is not None and circuit is not None and not self._circuits.may_store(circuit):
            raise StoreError("its circuit has stored enough", hint="")
        return self._store.store(parse_store(body))

    def _answer(self, connection: Connection, answer: asyncio.Future[StoredBucket | bytes | None]) -> None:
        """Write what the store has answered."""
        try:
            result = answer.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # the same
            _tell(connection, error)
            return
        if result is None:
            connection.reply(PROBLEMS[Problem.BUCKET_UNKNOWN])
        elif isinstance(result, bytes):
            connection.reply(bucket_reply(result))
        else:
            if result is not self._stored:  # all that were written together have the same answer
                self._stored, self._stored_reply = result, stored_reply(result.bucket_id, result.bucket)
            connection.reply(self._stored_reply)


def _tell(connection: Connection, error: BaseException) -> None:
    """Write that there is no answer."""
    if isinstance(error, StoreError | asyncio.CancelledError):  # the store itself has logged why
        connection.reply(PROBLEMS[Problem.BUSY])
    else:
        # Something is broken; but nothing of the request that showed it is said.
        _LOGGER.error("a request met a fault inside (%s)", type(error).__name__)
        connection.reply(PROBLEMS[Problem.INTERNAL], closes=True)
