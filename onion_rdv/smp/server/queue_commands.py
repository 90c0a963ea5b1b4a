"""Commands about queues and their links."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.server.permission import Refused, is_secured, there
from onion_rdv.smp.server.queues import NewQueue, Party, Queue
from onion_rdv.smp.wire.commands import Mode
from onion_rdv.smp.wire.crypto import agreed_box_key
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.link_data import sender_id
from onion_rdv.smp.wire.replies import Ids, Lnk, Ok
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE

if TYPE_CHECKING:
    from onion_rdv.smp.server.house import House
    from onion_rdv.smp.server.permission import Doorkeeper
    from onion_rdv.smp.wire.commands import (
        Key,
        LinkDelete,
        LinkGet,
        LinkKey,
        LinkSet,
        New,
        Off,
        RecipientKeys,
        SenderKey,
    )
    from onion_rdv.smp.wire.keys import PublicKey
    from onion_rdv.smp.wire.transmissions import Transmission

_MOST_RECIPIENT_KEYS: Final = 8
"""Keys that a queue's recipients may have. Each of their commands is checked with all of them, and everybody waits
meanwhile: with the 255 that one command can name, seconds for a block of commands."""

_ATTEMPTS: Final = 3
"""How often ids are drawn anew where one is taken; nobody will see a second time."""


class QueueCommands:
    """Those of one connection. Each method raises :class:`Refused` or :class:`~onion_rdv.errors.StoreError`."""

    def __init__(self, house: House, doorkeeper: Doorkeeper) -> None:
        self._store = house.store
        self._password = house.password
        self._doorkeeper = doorkeeper

    async def new(self, asked: Transmission, command: New) -> tuple[Queue, Ids]:
        """Make a queue."""
        self._doorkeeper.check(asked, [command.recipient_key])
        if self._password is not None and not hmac.compare_digest(command.password or b"", self._password):
            raise Refused
        link = command.link
        if link is not None and link.sender_id != sender_id(asked.correlation_id):
            raise Refused("CMD PROHIBITED")  # else NEW would tell which ids are taken
        server_key = PrivateKey(Kind.X25519, secrets.token_bytes(Kind.X25519.size))
        try:
            box_key = agreed_box_key(server_key.raw, command.dh_key.raw, "a queue")
        except MalformedBlock:
            raise Refused("CRYPTO") from None
        for _ in range(_ATTEMPTS):
            queue = Queue(
                recipient_id=secrets.token_bytes(ENTITY_ID_SIZE),
                sender_id=secrets.token_bytes(ENTITY_ID_SIZE) if link is None else link.sender_id,
                recipient_keys=(command.recipient_key,),
                box_key=box_key,
                mode=command.mode,
                link_id=None if link is None else link.link_id or secrets.token_bytes(ENTITY_ID_SIZE),
            )
            made = await self._store.create(NewQueue(queue, None if link is None else link.data))
            if made is not None:
                return made, Ids(made.recipient_id, made.sender_id, server_key.public, made.mode, made.link_id)
            if link is not None:
                raise Refused  # the ids are the client's own
        raise Refused("INTERNAL")

    async def key(self, asked: Transmission, command: Key) -> Ok:
        """Secure a queue, as its recipient."""
        queue = await self._doorkeeper.recipients_queue(asked)
        there(await self._store.secure(queue, command.key))
        return Ok()

    async def sender_key(self, asked: Transmission, command: SenderKey) -> Ok:
        """Secure a queue, as its sender."""
        await self._secure(asked, Party.SENDER, command.key)
        return Ok()

    async def recipient_keys(self, asked: Transmission, command: RecipientKeys) -> Ok:
        """Change who may receive from a contact queue."""
        queue = await self._doorkeeper.recipients_queue(asked)
        if queue.mode is not Mode.CONTACT:
            raise Refused
        if len(command.keys) > _MOST_RECIPIENT_KEYS:
            raise Refused("CMD PROHIBITED")
        there(await self._store.change_recipient(queue, command.keys))
        return Ok()

    async def link_key(self, asked: Transmission, command: LinkKey) -> Lnk:
        """Use a one-time link up, and give what it leads to."""
        return await self._link(await self._secure(asked, Party.LINK, command.key))

    async def link_get(self, asked: Transmission, _command: LinkGet) -> Lnk:
        """Give what a contact link leads to."""
        return await self._link(await self._doorkeeper.contact_queue(asked))

    async def link_set(self, asked: Transmission, command: LinkSet) -> Ok:
        """Change what a link leads to."""
        queue = await self._doorkeeper.recipients_queue(asked)
        if is_secured(queue):
            raise Refused
        there(await self._store.set_link(queue, command.link_id, command.data))
        return Ok()

    async def link_delete(self, asked: Transmission, _command: LinkDelete) -> Ok:
        """Delete a link."""
        await self._store.delete_link(await self._doorkeeper.recipients_queue(asked))
        return Ok()

    async def off(self, asked: Transmission, _command: Off) -> Ok:
        """Let nobody send any more."""
        there(await self._store.suspend(await self._doorkeeper.recipients_queue(asked)))
        return Ok()

    async def _secure(self, asked: Transmission, party: Party, key: PublicKey) -> Queue:
        queue = await self._doorkeeper.queue_to_secure(asked, party, key)
        return there(await self._store.secure(queue, key))

    async def _link(self, queue: Queue) -> Lnk:
        data = await self._store.link(queue)
        if data is None:
            raise Refused
        return Lnk(queue.sender_id, data)
