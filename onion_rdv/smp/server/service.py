"""The running messaging server: queues, their face on a Unix socket, and the onion service in front of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from onion_rdv.protocol.short_link import SMP_PORT
from onion_rdv.smp.server.face import Limits, MessagingFace
from onion_rdv.smp.server.house import House
from onion_rdv.smp.server.limits import DEFAULT_LIFETIME, DEFAULT_MAX_CONNECTIONS
from onion_rdv.smp.server.queue_store import QueueStore
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.tor.onion_service.hosting import Hosting, HostSettings, Ready, host
from onion_rdv.tor.progress import Progress, silent

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable

    from onion_rdv.tor.control import Control

STORE_FILE = "queues.sqlite"


@dataclass(frozen=True, slots=True)
class MessagingSettings(HostSettings):
    """What an operator decides.

    ``password`` is needed to make queues; None lets everybody make them. ``lifetime`` is the seconds that a message
    waits at most. ``max_connections`` may be open at once.
    """

    SOCKET: ClassVar[str] = "smp.socket"

    port: int = SMP_PORT
    max_streams: int = 8
    password: str | None = field(default=None, repr=False)
    lifetime: int = DEFAULT_LIFETIME
    max_connections: int = DEFAULT_MAX_CONNECTIONS


async def serve(
    settings: MessagingSettings,
    open_control: Callable[[], Awaitable[Control]],
    *,
    stop: asyncio.Event,
    on_ready: Callable[[Ready], None],
    on_state: Callable[[str], None],
    progress: Progress = silent,
    inherited: socket.socket | None = None,
) -> None:
    """Run a messaging server until ``stop`` is set; see :func:`~onion_rdv.tor.onion_service.hosting.host`.

    Clients name it ``smp://FINGERPRINT[:PASSWORD]@ADDRESS.onion[:PORT]``, which therefore is a secret where it has a
    password. Raises :class:`~onion_rdv.errors.StoreError` too.
    """

    @asynccontextmanager
    async def listening(hosting: Hosting) -> AsyncIterator[str]:
        directory = settings.state_directory
        password = settings.password
        store = await QueueStore.open(directory / STORE_FILE, lifetime=settings.lifetime)
        try:
            house = House(store, None if password is None else password.encode())
            face = await MessagingFace.at_home(house, directory, Limits(max_connections=settings.max_connections))
            await face.start_on(hosting.listener)
            try:
                yield SmpServer(face.fingerprint, (hosting.address,), settings.port, password).with_password()
            finally:
                await face.stop()
        finally:
            await store.close()

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
