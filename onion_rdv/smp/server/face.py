"""The face of a messaging server: it listens on a Unix socket, and lets so many connections in.

Nothing is logged about a connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from onion_rdv.errors import MalformedBlock, SettingsError, StoreError
from onion_rdv.smp.server.block_stream import BlockStream
from onion_rdv.smp.server.certificates import load_identity, load_leaf
from onion_rdv.smp.server.connection import Connection
from onion_rdv.smp.server.limits import DEFAULT_MAX_CONNECTIONS
from onion_rdv.tor.onion_service.accepting import accept_no_more, accept_on
from onion_rdv.tor.onion_service.listening import UnixListener

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onion_rdv.smp.server.certificates import Identity, Leaf
    from onion_rdv.smp.server.house import House

_CREDENTIALS = struct.Struct("3i")  # process, user and group id
_LOGGER = logging.getLogger("onion_rdv.messaging")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections, and how long things may take, in seconds.

    ``max_connections`` may be open at once; the next one is closed. A client has ``begin_within`` for its part of TLS
    and its hello, and ``patience`` to take what it was answered. A connection that asks for nothing and waits for
    nothing ends after ``idle`` (6 hours, as in simplexmq). ``look_round`` passes between two looks for idle
    connections, and at the certificate.
    """

    max_connections: int = DEFAULT_MAX_CONNECTIONS
    begin_within: float = 60.0
    patience: float = 60.0
    idle: float = 6 * 3600.0
    look_round: float = 60.0


class MessagingFace:
    """Serves queues over SMP on a Unix socket."""

    def __init__(self, house: House, directory: Path, identity: Identity, leaf: Leaf, limits: Limits) -> None:
        """Prepare to serve; ``house.store`` stays the caller's to close after :meth:`stop`.

        ``directory`` is where the identity and the leaf are kept.
        """
        self._house = house
        self._directory = directory
        self._identity = identity
        self._leaf = leaf
        self._limits = limits
        self._listener: UnixListener | None = None
        self._server: asyncio.Server
        self._round: asyncio.Task[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: dict[asyncio.Task[None], BlockStream] = {}  # those that have done TLS
        self._connections: dict[Connection, BlockStream] = {}

    @classmethod
    async def at_home(cls, house: House, directory: Path, limits: Limits | None = None) -> MessagingFace:
        """Prepare to serve with the identity in a directory, which is made where there is none.

        Raises :class:`~onion_rdv.errors.SettingsError`.
        """
        identity = await asyncio.to_thread(load_identity, directory)
        leaf = await asyncio.to_thread(load_leaf, directory, identity, datetime.now(UTC))
        return cls(house, directory, identity, leaf, limits or Limits())

    @property
    def fingerprint(self) -> bytes:
        """The 32 bytes by which links name the server."""
        return self._identity.fingerprint

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    async def start(self, path: Path, mode: int) -> None:
        """Listen at ``path`` with this mode; raises as :class:`UnixListener` does."""
        self._listener = UnixListener(path, mode)
        await self.start_on(self._listener.socket)

    async def start_on(self, listener: socket.socket) -> None:
        """Serve on a Unix stream socket that listens already; it is closed by :meth:`stop`, its name stays."""
        self._server = await accept_on(listener, lambda: _Arrival(self._arrived))
        self._round = asyncio.create_task(self._go_round())

    async def stop(self, patience: float = 5.0) -> None:
        """Accept nothing more, answer what has come, and close."""
        if self._listener is not None:
            self._listener.unlink()
        await accept_no_more(self._server)
        self._round.cancel()
        for stream in self._streams.values():
            stream.finish()
        if self._streams:
            await asyncio.wait(self._streams.keys(), timeout=patience)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def _arrived(self, transport: asyncio.Transport) -> None:
        # One more where we ask ourselves whether we are well: that everybody else's are taken is no fault of ours.
        if len(self._tasks) >= self._limits.max_connections + _is_own(transport):
            transport.abort()
            return
        task = asyncio.create_task(self._serve(transport))
        self._tasks.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._streams.pop(task, None)

    async def _serve(self, transport: asyncio.Transport) -> None:
        try:
            async with asyncio.timeout(self._limits.begin_within):
                leaf = self._leaf
                stream = await BlockStream.accept(transport, leaf.context, self._limits.begin_within)
                self._streams[cast("asyncio.Task[None]", asyncio.current_task())] = stream
                connection = await Connection.greet(stream, self._identity, leaf, self._house)
            self._connections[connection] = stream
            try:
                await connection.run(self._limits.patience)
            finally:
                del self._connections[connection]
        except (OSError, MalformedBlock):  # it went, or it is no client of SMP; time-outs are OSError
            transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise
        except Exception as error:  # noqa: BLE001  # one client's fault is nobody else's
            transport.abort()
            _LOGGER.error("a connection met a fault inside (%s)", type(error).__name__)  # noqa: TRY400

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(self._limits.look_round)
            too_long_ago = time.monotonic() - self._limits.idle
            for connection, stream in self._connections.items():
                if connection.is_idle and connection.active_at < too_long_ago:
                    stream.finish()
            now = datetime.now(UTC)
            if now >= self._leaf.renew_at:
                try:
                    self._leaf = await asyncio.to_thread(load_leaf, self._directory, self._identity, now)
                except (SettingsError, StoreError) as error:
                    _LOGGER.error("%s; %s", error.message, error.hint)  # noqa: TRY400


def _is_own(transport: asyncio.Transport) -> bool:
    """Tell whether this process itself has connected (unix(7), "SO_PEERCRED")."""
    credentials = transport.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    return bool(_CREDENTIALS.unpack(credentials)[0] == os.getpid())


class _Arrival(asyncio.Protocol):
    """A connection before anything is known of it."""

    def __init__(self, arrived: Callable[[asyncio.Transport], None]) -> None:
        self._arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing until TLS does, and take it in."""
        stream = cast("asyncio.Transport", transport)
        stream.pause_reading()
        self._arrived(stream)
