"""An onion service whose key is ours, told to tor over our control connection (control-spec, "ADD_ONION")."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.errors import ControlLost, ServiceNotPublished
from onion_rdv.tor.client_authorization import narrows
from onion_rdv.tor.onion_service import detached
from onion_rdv.tor.onion_service.detached import NOTE_FILE, Left
from onion_rdv.tor.onion_service.key_file import ServiceKey, load_or_create
from onion_rdv.tor.onion_service.way import Provided, no_proof_of_work, version_warnings

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from onion_rdv.tor.control import Control, Reply
    from onion_rdv.tor.onion_service.settings import ServiceSettings

_SYNTAX_ERROR = 512
_COLLISION = 550


class EphemeralService:
    """ADD_ONION with the key of a file; the file is made, and is on the disk, before the service is published.

    Nothing about the service is left with tor, which forgets it when the control connection closes; unless it is to
    ``detach``: then it stays with that tor until :func:`~onion_rdv.tor.onion_service.detached.take_back`, whatever
    becomes of us, and the next run takes it over as it is; ``onion-service.left`` beside the key file remembers it.
    With ``key`` that file itself is neither read nor made.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        key_file: Path,
        *,
        detach: bool = False,
        key: ServiceKey | None = None,
    ) -> None:
        self._settings = settings
        self._key_file = key_file
        self._detach = detach
        self._note = key_file.with_name(NOTE_FILE)
        self._key = key
        self._providing = asyncio.Lock()
        self._provided_over: Control | None = None
        self._let_in: tuple[str, ...] | None = None

    async def _load_key(self) -> ServiceKey:
        if self._key is None:
            self._key = await asyncio.to_thread(load_or_create, self._key_file)
        return self._key

    async def expected_address(self) -> str:
        """See :meth:`Way.expected_address`; makes the key if need be."""
        return (await self._load_key()).address

    async def provide(self, control: Control) -> Provided:
        """See :meth:`Way.provide`; raises :class:`~onion_rdv.errors.KeyFileUnusable`, too."""
        async with self._providing:
            key = await self._load_key()
            warnings = await version_warnings(control)
            proof_of_work = await self._take_over(control, key.address)
            fresh = proof_of_work is None
            if proof_of_work is None:
                proof_of_work = await self._add(control, key)
            if self._settings.proof_of_work and not proof_of_work:
                warnings += no_proof_of_work("0.4.9.2")
            self._provided_over = control
            self._let_in = self._settings.authorized_clients
            return Provided(key.address, proof_of_work, fresh=fresh, warnings=warnings)

    async def _take_over(self, control: Control, address: str) -> bool | None:
        """Take over our service where this tor has it as it is wanted, else take it away.

        Gives whether the service that was taken over has proof of work; None where tor has none of ours now.
        """
        left = await asyncio.to_thread(detached.read, self._note)
        if left is not None and await detached.is_there(control, left.address):
            for proof_of_work in {self._settings.proof_of_work, False}:
                if self._detach and left == Left.told(address, self._words(proof_of_work=proof_of_work)):
                    return proof_of_work
            stale = left.address
        elif control is self._provided_over:
            stale = address
        else:
            return None
        shut_out = self._let_in is None or narrows(self._let_in, self._settings.authorized_clients)
        await detached.delete(control, stale, close_clients=shut_out)
        return None

    async def _add(self, control: Control, key: ServiceKey) -> bool:
        """Add the service; gives whether it has proof of work."""
        proof_of_work = self._settings.proof_of_work
        reply = await self._tell(control, key, proof_of_work=proof_of_work)
        if proof_of_work and reply.code == _SYNTAX_ERROR:
            proof_of_work = False
            reply = await self._tell(control, key, proof_of_work=False)
        if self._detach and not reply.ok:
            await asyncio.to_thread(detached.forget, self._note)
        if reply.code == _COLLISION:
            raise ServiceNotPublished(
                "this tor has an onion service with the same key",
                hint=f"end the other program that uses the key {self._key_file}, or give each a key of its own; if"
                " there is none, a server that is gone has left its service there: restart tor",
            )
        if not reply.ok:
            raise ServiceNotPublished(f"tor says: {reply.text}")
        return proof_of_work

    async def _tell(self, control: Control, key: ServiceKey, *, proof_of_work: bool) -> Reply:
        words = self._words(proof_of_work=proof_of_work)
        # The note is never behind what tor has: a crash in between leaves a note of what tor does not have.
        if self._detach:
            await asyncio.to_thread(detached.write, self._note, Left.told(key.address, words))
        else:
            await asyncio.to_thread(detached.forget, self._note)
        return await control.msg(f"ADD_ONION {key.blob} {words}")

    def _words(self, *, proof_of_work: bool) -> str:
        """Write how tor is to serve it: the arguments of ADD_ONION after the key."""
        settings = self._settings
        flags = ["DiscardPK"]
        if self._detach:
            flags.append("Detach")
        if settings.max_streams:
            flags.append("MaxStreamsCloseCircuit")
        if settings.authorized_clients:
            flags.append("V3Auth")
        words = [f"Flags={','.join(flags)}", f"MaxStreams={settings.max_streams}"]
        if proof_of_work:
            words += [
                "PoWDefensesEnabled=1",
                f"PoWQueueRate={settings.queue_rate}",
                f"PoWQueueBurst={settings.queue_burst}",
            ]
        words.append(f"Port={settings.virtual_port},{settings.tor_target}")
        words += [f"ClientAuthV3={client}" for client in settings.authorized_clients]
        return " ".join(words)

    @property
    def clients(self) -> tuple[str, ...]:
        """See :meth:`Way.clients`."""
        return self._settings.authorized_clients

    def replace_clients(self, keys: Collection[str]) -> bool:
        """See :meth:`Way.replace_clients`."""
        before = self._settings
        self._settings = before.letting_in(keys)
        return self._settings != before

    async def is_provided(self, control: Control) -> bool:
        """Tor keeps the service whatever becomes of its configuration."""
        return not control.closed.is_set()

    async def withdraw(self, control: Control) -> None:
        """DEL_ONION, unless the service is detached; harmless where tor has no such service."""
        if self._key is None or self._detach or control.closed.is_set():
            return
        try:
            await detached.delete(control, self._key.address)
        except ControlLost:
            return
