"""The running rendezvous server: a store, its web face on a Unix socket, and the onion service in front of it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from onion_rdv.errors import SettingsError
from onion_rdv.protocol import DEFAULT_PORT, decode_onion_address
from onion_rdv.protocol.onion import authority
from onion_rdv.rendezvous.admin.client import ADMIN_SOCKET
from onion_rdv.rendezvous.admin.clients import Clients
from onion_rdv.rendezvous.admin.face import AdminFace
from onion_rdv.rendezvous.admin.metrics import metrics_routes
from onion_rdv.rendezvous.admin.status import Observer
from onion_rdv.rendezvous.backup.serving import backup_routes
from onion_rdv.rendezvous.backup.sources import Places, running_server
from onion_rdv.rendezvous.clock_watch import watching_the_clock
from onion_rdv.rendezvous.limits import (
    DEFAULT_MAX_CIRCUIT_STORES,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_REQUEST_TIMEOUT,
    CircuitLimits,
)
from onion_rdv.rendezvous.opening import open_store
from onion_rdv.rendezvous.postgres_address import DatabaseAddress
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME, DEFAULT_MAX_NEW_BUCKETS, DEFAULT_WINDOW, Ceiling, Rules
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.tor.onion_service.hosting import Hosting, HostSettings, Ready, host
from onion_rdv.tor.progress import Progress, silent

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from onion_rdv.rendezvous.admin.face import Routes
    from onion_rdv.tor.control import Control


@dataclass(frozen=True, slots=True)
class ServerSettings(HostSettings):
    """What an operator decides; ``window`` and ``lifetime`` are seconds, ``max_new_buckets`` as many a minute.

    ``max_circuit_stores`` is what one circuit may bring in a minute or two, where there are ``circuit_ids``;
    ``max_connections`` may be open, each of which has ``request_timeout`` seconds for a request and for its reply.
    ``database`` is the URL of a PostgreSQL database in place of the file in the state directory (``opening.py``).
    ``admin_socket`` is where ``onion-rdv status`` and its kin ask, by default in the state directory; at
    ``metrics_socket``, if there is one, Prometheus does.
    """

    SOCKET: ClassVar[str] = "web.socket"

    port: int = DEFAULT_PORT
    window: int = DEFAULT_WINDOW
    lifetime: int = DEFAULT_LIFETIME
    max_new_buckets: int = DEFAULT_MAX_NEW_BUCKETS
    database: str | None = field(default=None, repr=False)
    admin_socket: Path | None = None
    metrics_socket: Path | None = None
    max_circuit_stores: int = DEFAULT_MAX_CIRCUIT_STORES
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT

    def check(self) -> None:
        """See :meth:`HostSettings.check`."""
        HostSettings.check(self)
        _ = self.rules
        if self.database is not None:
            DatabaseAddress.parse(self.database)
        sockets = [socket for socket in (self.socket, self.admin_socket, self.metrics_socket) if socket is not None]
        if len(set(sockets)) < len(sockets):
            raise SettingsError(
                "two sockets have the same path",
                hint="give each a name of its own",
                settings=("listen", "admin_socket", "metrics_socket"),
            )

    @property
    def circuits(self) -> CircuitLimits | None:
        """What one circuit may do; None where nobody says on which one a stream came."""
        return CircuitLimits(self.max_streams, self.max_circuit_stores) if self.circuit_ids else None

    @property
    def rules(self) -> Rules:
        """What the store goes by; raises :class:`~onion_rdv.errors.SettingsError`."""
        return Rules(self.window, self.lifetime, Ceiling(self.max_new_buckets))


async def serve(
    settings: ServerSettings,
    open_control: Callable[[], Awaitable[Control]],
    *,
    stop: asyncio.Event,
    on_ready: Callable[[Ready], None],
    on_state: Callable[[str], None],
    progress: Progress = silent,
    inherited: socket.socket | None = None,
) -> None:
    """Run a rendezvous server until ``stop`` is set; see :func:`~onion_rdv.tor.onion_service.hosting.host`.

    Raises :class:`~onion_rdv.errors.StoreError` too.
    """

    @asynccontextmanager
    async def listening(hosting: Hosting) -> AsyncIterator[str]:
        address = settings.front or hosting.address  # the one that invites carry, and that all is bound to (ON-3)
        name = authority(address, settings.port)
        async with AsyncExitStack() as cleanup:
            if settings.database is None:  # one in PostgreSQL goes by the database's clock
                await cleanup.enter_async_context(watching_the_clock(settings.state_directory))
            store = await open_store(
                settings.database,
                settings.state_directory,
                decode_onion_address(address),
                settings.rules,
            )
            cleanup.push_async_callback(store.close)
            web = WebFace(
                store,
                max_connections=settings.max_connections,
                request_timeout=settings.request_timeout,
                circuits=settings.circuits,
            )
            await web.start_on(hosting.listener)
            cleanup.push_async_callback(web.stop)
            observer = Observer(name, hosting.onion, store, settings.lifetime)
            places = Places(settings.state_directory, settings.onion_service_dir, settings.key)
            clients = Clients(hosting.address, hosting.onion, settings.client_list, settings.authorized_clients)
            routes = {
                **observer.routes(),
                **clients.routes(),
                **backup_routes(partial(running_server, address, places, store)),
            }
            await cleanup.enter_async_context(_administered(settings, routes, metrics_routes(observer)))
            yield name

    await host(
        settings,
        open_control,
        listening=listening,
        stop=stop,
        on_ready=on_ready,
        on_state=on_state,
        progress=progress,
        inherited=inherited,
    )


@asynccontextmanager
async def _administered(settings: ServerSettings, routes: Routes, metrics: Routes) -> AsyncIterator[None]:
    """Answer whoever runs the server while the block runs."""
    async with AsyncExitStack() as cleanup:
        admin = AdminFace(routes)
        await admin.start(settings.admin_socket or settings.state_directory / ADMIN_SOCKET, 0o600)
        cleanup.push_async_callback(admin.stop)
        if settings.metrics_socket is not None:
            face = AdminFace(metrics)
            await face.start(settings.metrics_socket, 0o660)
            cleanup.push_async_callback(face.stop)
        yield
