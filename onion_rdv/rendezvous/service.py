"""The running rendezvous server: a store, its web face on a Unix socket, and the onion service in front of it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from onion_rdv.protocol import decode_onion_address
from onion_rdv.protocol.onion import authority
from onion_rdv.rendezvous.admin.client import ADMIN_SOCKET
from onion_rdv.rendezvous.admin.clients import Clients
from onion_rdv.rendezvous.admin.face import AdminFace
from onion_rdv.rendezvous.admin.metrics import metrics_routes
from onion_rdv.rendezvous.admin.status import Observer
from onion_rdv.rendezvous.backup.serving import backup_routes
from onion_rdv.rendezvous.backup.sources import Places, running_server
from onion_rdv.rendezvous.clock_watch import watching_the_clock
from onion_rdv.rendezvous.opening import open_store
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.tor.onion_service.hosting import Hosting, Ready, host
from onion_rdv.tor.progress import Progress, silent

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable

    from onion_rdv.rendezvous.admin.face import Routes
    from onion_rdv.rendezvous.settings import ServerSettings
    from onion_rdv.tor.control import Control


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
            if settings.database is None:  # one in PostgreSQL goes by the database's, and watches it
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
