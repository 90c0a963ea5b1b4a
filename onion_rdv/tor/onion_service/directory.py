"""An onion service in a HiddenServiceDir of tor's, set over the control port; the key is tor's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.errors import ControlLost, ServiceNotPublished, SettingsError
from onion_rdv.tor.onion_service import authorized_clients, balanced
from onion_rdv.tor.onion_service.hidden_service_options import (
    DIRECTORY,
    Block,
    blocks,
    escaped,
    merged,
    position,
    same,
    setconf,
)
from onion_rdv.tor.onion_service.place import Place, read_address
from onion_rdv.tor.onion_service.way import Provided, no_proof_of_work, version_warnings

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from onion_rdv.tor.control import Control, Reply
    from onion_rdv.tor.onion_service.settings import ServiceSettings

_BAD_VALUE = 513
_UNKNOWN_OPTION = 552

_IS_INSTANCE = ("HiddenServiceOnionBalanceInstance", "1")

_MANAGED = frozenset(
    {
        DIRECTORY,
        "HiddenServicePort",
        "HiddenServiceVersion",
        "HiddenServiceMaxStreams",
        "HiddenServiceMaxStreamsCloseCircuit",
        "HiddenServicePoWDefensesEnabled",
        "HiddenServicePoWQueueRate",
        "HiddenServicePoWQueueBurst",
        "HiddenServiceExportCircuitID",
        _IS_INSTANCE[0],
    }
)
"""Options that say what we say; any other that an operator gave this directory in torrc stays."""


class DirectoryService:
    """A HiddenServiceDir; whatever other onion services tor has stay as they are.

    The service stays when the control connection closes, until tor ends or reads its torrc again (SIGHUP). With
    ``export_circuit_id`` every stream begins with a line of HAProxy's PROXY protocol that numbers its circuit.
    ``front`` is the onion address of an Onionbalance before it, for which tor takes introductions, too.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        directory: Path,
        *,
        export_circuit_id: bool = False,
        front: str | None = None,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._export_circuit_id = export_circuit_id
        self._front = front
        self._proof_of_work = settings.proof_of_work
        self._wanted: Block = ()
        self._providing = asyncio.Lock()

    async def expected_address(self) -> str | None:
        """See :meth:`Way.expected_address`; None for a directory that tor has not filled yet."""
        try:
            return await asyncio.to_thread(read_address, self._directory)
        except OSError:
            return None

    async def provide(self, control: Control) -> Provided:
        """See :meth:`Way.provide`."""
        async with self._providing:
            return await self._provide(control)

    async def _provide(self, control: Control) -> Provided:
        settings = self._settings
        place = await asyncio.to_thread(Place, self._directory, await control.process_uid())
        if self._front is not None:
            await asyncio.to_thread(balanced.settle, place, self._front)
        clients = await asyncio.to_thread(authorized_clients.compare, place, settings.authorized_clients)
        warnings = clients.warnings + await version_warnings(control)
        services = blocks(await control.conf("HiddenServiceOptions"))
        known = position(services, str(self._directory))
        begins_anew = known is not None and (clients.narrows or self._becomes_instance(services[known]))
        if known is not None and begins_anew:
            # Tor ends the service with all its circuits, and begins it anew with the block below. From changed files
            # alone it would learn whom to let in, and still let in everybody who knows an earlier descriptor. And one
            # that becomes an instance while it runs drops introductions for the front until its next descriptors are
            # made (hs_circuit.c: "BUG(!service->state.ob_subcreds)").
            await control.ask(setconf(services[:known] + services[known + 1 :]))
        await asyncio.to_thread(clients.make)
        self._proof_of_work = settings.proof_of_work
        reply = await self._set(control, place, services, force=clients.any)
        if self._proof_of_work and reply is not None and reply.code in {_BAD_VALUE, _UNKNOWN_OPTION}:
            self._proof_of_work = False
            reply = await self._set(control, place, services, force=True)
            warnings += no_proof_of_work("0.4.8")
        if reply is not None and not reply.ok:
            raise ServiceNotPublished(f"tor says: {reply.text}", hint="tor's log says what it does not accept")
        address = await asyncio.to_thread(place.address)
        return Provided(address, self._proof_of_work, fresh=known is None or begins_anew, warnings=warnings)

    async def _set(self, control: Control, place: Place, services: list[Block], *, force: bool) -> Reply | None:
        """Put our block in its place; None when it is there already."""
        services = list(services)
        known = position(services, str(self._directory))
        block = self._block(place)
        if known is None:
            services.append(block)
        else:
            block = merged(services[known], block, _MANAGED)
            if same(block, services[known]) and not force:
                self._wanted = block
                return None
            services[known] = block
        self._wanted = block
        try:
            return await control.msg(setconf(services))
        except ControlLost:
            if place.exists:
                raise
            raise SettingsError(
                f"tor ended when it was told to use {self._directory}",
                hint="name a directory that tor may make (on Debian: below /var/lib/tor); tor's log says more",
            ) from None

    def _becomes_instance(self, known: Block) -> bool:
        return self._front is not None and _IS_INSTANCE not in known

    def _block(self, place: Place) -> Block:
        settings = self._settings
        options = [
            (DIRECTORY, escaped(str(self._directory))),
            ("HiddenServicePort", f"{settings.virtual_port} {settings.tor_target}"),
        ]
        if settings.max_streams:
            options.append(("HiddenServiceMaxStreams", str(settings.max_streams)))
            options.append(("HiddenServiceMaxStreamsCloseCircuit", "1"))
        if self._proof_of_work:
            options.append(("HiddenServicePoWDefensesEnabled", "1"))
            options.append(("HiddenServicePoWQueueRate", str(settings.queue_rate)))
            options.append(("HiddenServicePoWQueueBurst", str(settings.queue_burst)))
        if self._export_circuit_id:
            options.append(("HiddenServiceExportCircuitID", "haproxy"))
        if self._front is not None:
            options.append(_IS_INSTANCE)
        if place.shared:
            options.append(("HiddenServiceDirGroupReadable", "1"))
        return tuple(options)

    @property
    def clients(self) -> tuple[str, ...]:
        """See :meth:`Way.clients`."""
        return self._settings.authorized_clients

    def replace_clients(self, keys: Collection[str]) -> bool:
        """See :meth:`Way.replace_clients`; behind a front everybody has to be let in."""
        if keys and self._front is not None:
            raise SettingsError(
                "behind a front there can be no authorized clients", hint="Onionbalance knows no client authorization"
            )
        before = self._settings
        self._settings = before.letting_in(keys)
        return self._settings != before

    async def is_provided(self, control: Control) -> bool:
        """Look for our block in tor's configuration, while we are not about to put it there."""
        async with self._providing:
            services = blocks(await control.conf("HiddenServiceOptions"))
        known = position(services, str(self._directory))
        return known is not None and same(services[known], self._wanted)

    async def withdraw(self, control: Control) -> None:
        """Leave the service with tor: it is meant to stay."""
