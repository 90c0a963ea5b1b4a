"""A server behind an onion service: where it listens, how it is published, and its life until it is stopped."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from onion_rdv.errors import SettingsError
from onion_rdv.tor.onion_service import key_file, state_directory
from onion_rdv.tor.onion_service.client_list import CLIENTS_FILE, ClientList
from onion_rdv.tor.onion_service.directory import DirectoryService
from onion_rdv.tor.onion_service.ephemeral import EphemeralService
from onion_rdv.tor.onion_service.listening import UnixListener
from onion_rdv.tor.onion_service.service import OnionService
from onion_rdv.tor.onion_service.settings import ServiceSettings
from onion_rdv.tor.onion_service.target import let_tor_in
from onion_rdv.tor.progress import Progress, silent

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from onion_rdv.tor.control import Control
    from onion_rdv.tor.onion_service.key_file import ServiceKey
    from onion_rdv.tor.onion_service.way import Way

KEY_FILE = "onion-service.key"

_RUNTIME_DIRECTORY = Path("/run/onion-rdv")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What an operator decides for any server.

    ``state_directory`` (made with mode 0700) holds the key and whatever the server keeps; ``socket`` is where tor
    hands over streams, by default in the state directory, or in /run/onion-rdv where tor is another user's and we are
    root; ``onion_service_dir`` asks for a ``HiddenServiceDir`` in place of a service whose key is kept here.
    ``circuit_ids`` has tor begin every stream with a line that says on which circuit it came
    (``HiddenServiceExportCircuitID``), and ``front`` is the onion address of an Onionbalance that leads clients here;
    both need such a directory. ``key`` is the service's where somebody else keeps it.
    """

    SOCKET: ClassVar[str] = "socket"

    state_directory: Path
    socket: Path | None = None
    port: int = 80
    onion_service_dir: Path | None = None
    max_streams: int = 16
    proof_of_work: bool = True
    authorized_clients: tuple[str, ...] = field(default=(), repr=False)
    front: str | None = None
    key: ServiceKey | None = field(default=None, repr=False)
    circuit_ids: bool = False

    def check(self) -> None:
        """Raise :class:`~onion_rdv.errors.SettingsError` for what can be seen to be wrong without tor. Blocks.

        Raises :class:`~onion_rdv.errors.StoreError` for a disk that fails or cannot be written.
        """
        root = os.geteuid() == 0
        self.way(self.socket or (_RUNTIME_DIRECTORY if root else self.state_directory) / self.SOCKET)
        if root and self.state_directory.exists() and self.state_directory.stat().st_uid != 0:
            return  # it is the user's for whom root asks
        state_directory.check(self.state_directory)
        if self.onion_service_dir is None and self.key is None:
            key_file.load(self.state_directory / KEY_FILE)

    def choose_socket(self, tor_uid: int | None) -> Path:
        """Give the socket's place, which has to be one that tor can enter."""
        if self.socket is not None:
            return self.socket
        if os.geteuid() == 0 and tor_uid != 0:
            with suppress(FileExistsError):
                _RUNTIME_DIRECTORY.mkdir(mode=0o711)
                _RUNTIME_DIRECTORY.chmod(0o711)  # whatever the umask is
            return _RUNTIME_DIRECTORY / self.SOCKET
        return self.state_directory / self.SOCKET

    @property
    def client_list(self) -> ClientList:
        """The clients that are let in besides those of the settings."""
        return ClientList(self.state_directory / CLIENTS_FILE)

    def way(self, socket: Path, *, outlasts_us: bool = False) -> Way:
        """Give the way in which the onion service is published; it ends with us unless it is to outlast us.

        Blocks, and raises :class:`~onion_rdv.errors.SettingsError`.
        """
        clients = (*self.authorized_clients, *self.client_list.read().values())
        if self.front is not None and (self.onion_service_dir is None or clients):
            raise SettingsError(
                "a server behind a front needs a HiddenServiceDir, and cannot have authorized clients",
                hint="name the directory with --onion-service-dir; Onionbalance knows no client authorization",
                settings=("front", "onion_service_dir", "authorized_client"),
            )
        if self.circuit_ids and self.onion_service_dir is None:
            raise SettingsError(
                "tor says only for a HiddenServiceDir on which circuit a stream came",
                hint="name the directory with --onion-service-dir, or do without circuit ids",
                settings=("circuit_ids", "onion_service_dir"),
            )
        if self.key is not None and self.onion_service_dir is not None:
            raise SettingsError(
                "the service manager has an onion key for this server, and tor keeps another",
                hint="take the credential away, or do without a HiddenServiceDir",
                settings=("onion_service_dir",),
            )
        service = ServiceSettings(
            target=socket,
            virtual_port=self.port,
            max_streams=self.max_streams,
            # A front's descriptor cannot ask for work; the queue for it would only hold its clients up.
            proof_of_work=self.proof_of_work and self.front is None,
            authorized_clients=clients,
        )
        if self.onion_service_dir is not None:
            return DirectoryService(
                service, self.onion_service_dir, front=self.front, export_circuit_id=self.circuit_ids
            )
        return EphemeralService(service, self.state_directory / KEY_FILE, detach=outlasts_us, key=self.key)


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that is published: where it is, and what its operator should know.

    ``server`` is the server as clients name it; ``socket`` is where tor hands streams over to it.
    """

    server: str
    socket: Path
    address: str
    port: int
    proof_of_work: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hosting:
    """What a server is given to serve with.

    * ``address``: its onion address, 56 characters and ``.onion``.
    * ``listener``: a Unix stream socket that listens already, so that no stream is refused while the server starts;
      whoever serves on it may close it, and its name is somebody else's business.
    * ``onion``: the onion service before it, perhaps not published yet.
    * ``settings``: what the operator decided.
    """

    address: str
    listener: socket.socket
    onion: OnionService
    settings: HostSettings


async def host(
    settings: HostSettings,
    open_control: Callable[[], Awaitable[Control]],
    *,
    listening: Callable[[Hosting], AbstractAsyncContextManager[str]],
    stop: asyncio.Event,
    on_ready: Callable[[Ready], None],
    on_state: Callable[[str], None],
    progress: Progress = silent,
    inherited: socket.socket | None = None,
) -> None:
    """Run a server until ``stop`` is set.

    ``listening`` serves for as long as its context lasts; it gives the server as clients name it. ``on_ready`` is
    called once, when the descriptor is with the directories; ``on_state`` whenever the service is being published, is
    published, or is lost, which it is again and again only where tor goes away. ``inherited`` is a socket to serve on
    that somebody else made, let tor in to, and goes on listening on; it is closed here, and the onion service stays
    published, so that streams wait there for the next run. Raises :class:`~onion_rdv.errors.SettingsError`,
    :class:`~onion_rdv.errors.NoTor` with their kinds, :class:`~onion_rdv.errors.StoreError` for a disk that is full
    or fails, and what ``listening`` raises.
    """
    await asyncio.to_thread(state_directory.make_private, settings.state_directory)
    async with AsyncExitStack() as cleanup:
        cleanup.enter_context(state_directory.in_use(settings.state_directory))
        async with await open_control() as control:
            tor_uid = await control.process_uid()
        path = settings.choose_socket(tor_uid) if inherited is None else Path(inherited.getsockname())
        way = settings.way(path, outlasts_us=inherited is not None)
        onion = OnionService(way, open_control, on_state=on_state, progress=progress)
        cleanup.push_async_callback(onion.stop)
        # Streams can come from the moment of publishing, so the server listens before, where the address that
        # it may be bound to can be known before.
        address = await way.expected_address()
        if address is None:
            await _unless(stop, onion.publish())
            if not onion.is_published:
                return
            address = onion.address
        listener = inherited
        if listener is None:
            own = UnixListener(path, 0o600)
            cleanup.callback(own.unlink)
            listener = own.socket
        cleanup.enter_context(listener)
        if inherited is None:
            await asyncio.to_thread(let_tor_in, path, tor_uid)
        hosting = Hosting(address, listener, onion, settings)
        server = await cleanup.enter_async_context(listening(hosting))
        if not onion.is_published:
            await _unless(stop, onion.publish())
        if not onion.is_published:
            return
        on_ready(Ready(server, path, onion.address, settings.port, onion.proof_of_work, onion.warnings))
        await _unless(stop, onion.keep())


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Await ``work``, but no longer than until ``stop`` is set."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})
    if not working.cancelled():
        working.result()
