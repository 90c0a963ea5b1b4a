"""An onion service that lives as long as our control connection; the key is ours (control-spec, "ADD_ONION")."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.errors import ControlLost, ServiceNotPublished
from onion_rdv.tor.onion_service.key_file import ServiceKey, load_or_create
from onion_rdv.tor.onion_service.way import Provided, no_proof_of_work, version_warnings

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.control import Control
    from onion_rdv.tor.onion_service.settings import ServiceSettings

_SYNTAX_ERROR = 512
_COLLISION = 550


class EphemeralService:
    """ADD_ONION with the key of a file; the file is made, and is on the disk, before the service is published.

    Nothing about the service is left with tor, which forgets it when the control connection closes.
    """

    def __init__(self, settings: ServiceSettings, key_file: Path) -> None:
        self._settings = settings
        self._key_file = key_file
        self._key: ServiceKey | None = None

    async def _load_key(self) -> ServiceKey:
        if self._key is None:
            self._key = await asyncio.to_thread(load_or_create, self._key_file)
        return self._key

    async def expected_address(self) -> str:
        """See :meth:`Way.expected_address`; makes the key if need be."""
        return (await self._load_key()).address

    async def provide(self, control: Control) -> Provided:
        """See :meth:`Way.provide`; raises :class:`~onion_rdv.errors.KeyFileUnusable`, too."""
        key = await self._load_key()
        warnings = await version_warnings(control)
        proof_of_work = self._settings.proof_of_work
        reply = await control.msg(self._command(key, proof_of_work=proof_of_work))
        if proof_of_work and reply.code == _SYNTAX_ERROR:
            proof_of_work = False
            reply = await control.msg(self._command(key, proof_of_work=False))
            warnings += no_proof_of_work("0.4.9.2")
        if reply.code == _COLLISION:
            raise ServiceNotPublished(
                "this tor has an onion service with the same key",
                hint=f"end the other program that uses the key {self._key_file}, or give each a key of its own",
            )
        if not reply.ok:
            raise ServiceNotPublished(f"tor says: {reply.text}")
        return Provided(key.address, proof_of_work, fresh=True, warnings=warnings)

    def _command(self, key: ServiceKey, *, proof_of_work: bool) -> str:
        settings = self._settings
        flags = ["DiscardPK"]
        if settings.max_streams:
            flags.append("MaxStreamsCloseCircuit")
        if settings.authorized_clients:
            flags.append("V3Auth")
        words = ["ADD_ONION", key.blob, f"Flags={','.join(flags)}", f"MaxStreams={settings.max_streams}"]
        if proof_of_work:
            words += [
                "PoWDefensesEnabled=1",
                f"PoWQueueRate={settings.queue_rate}",
                f"PoWQueueBurst={settings.queue_burst}",
            ]
        words.append(f"Port={settings.virtual_port},{settings.tor_target}")
        words += [f"ClientAuthV3={client}" for client in settings.authorized_clients]
        return " ".join(words)

    async def is_provided(self, control: Control) -> bool:
        """Tor keeps the service whatever becomes of its configuration."""
        return not control.closed.is_set()

    async def withdraw(self, control: Control) -> None:
        """DEL_ONION; harmless where tor has no such service."""
        if self._key is not None and not control.closed.is_set():
            try:
                await control.msg(f"DEL_ONION {self._key.address.removesuffix('.onion')}")
            except ControlLost:
                return
