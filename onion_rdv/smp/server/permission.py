"""Whether a command is authorized, in a time that does not tell why it is not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.server.queues import Party, Queue
from onion_rdv.smp.wire.commands import Command, LinkGet, Mode, New, Ping, Send
from onion_rdv.smp.wire.crypto import agreed_box_key
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import Err
from onion_rdv.smp.wire.transmissions import AUTHENTICATOR_SIZE, Transmission, is_authenticated, is_signed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onion_rdv.smp.server.queue_store import QueueStore
    from onion_rdv.smp.wire.keys import PublicKey

_NOBODY: Final = {
    kind: PrivateKey(kind, hashlib.sha256(b"nobody").digest()).public for kind in (Kind.ED25519, Kind.X25519)
}
"""Keys to check against where there is no queue, or none with a key of that kind; what comes of it is ignored."""

_MOST_BOX_KEYS: Final = 64
"""Keys of a connection with which agreeing need not be done again: 10 KB. For others it takes less than 0.1 ms."""


class Refused(Exception):
    """A command is refused, with the code of an error."""

    def __init__(self, code: str = "AUTH") -> None:
        super().__init__(code)
        self.reply = Err(code)


class Doorkeeper:
    """Checks the authorizations of one connection; all methods raise :class:`Refused`."""

    def __init__(self, store: QueueStore, session_id: bytes, session_key: PrivateKey) -> None:
        """Begin; ``session_key`` is the one whose public half was in this connection's hello."""
        self._store = store
        self._session_id = session_id
        self._session_key = session_key
        self._box_keys: dict[bytes, bytes] = {}  # of keys that have authorized something: no others, see _check

    async def recipients_queue(self, asked: Transmission) -> Queue:
        """Give the queue that a command names and its recipient has authorized."""
        queue = await self._store.find(Party.RECIPIENT, asked.entity_id)
        await self._let_pass(asked, Party.RECIPIENT, queue.recipient_keys if queue else ())
        return there(queue)

    async def senders_queue(self, asked: Transmission) -> Queue:
        """Give the queue to which a command sends; before it is secured, everybody may who names it."""
        queue = await self._store.find(Party.SENDER, asked.entity_id)
        if queue is None or queue.sender_key is not None or asked.authorization:
            key = None if queue is None else queue.sender_key
            await self._let_pass(asked, Party.SENDER, () if key is None else (key,))
        return there(queue)

    async def queue_to_secure(self, asked: Transmission, party: Party, key: PublicKey) -> Queue:
        """Give the messaging queue that a command names, if it may be secured with the key that authorized that."""
        queue = await self._store.find(party, asked.entity_id)
        may = queue is not None and queue.mode is Mode.MESSAGING and queue.sender_key in {None, key}
        await self._let_pass(asked, party, [key] if may else ())
        return there(queue)

    async def contact_queue(self, asked: Transmission) -> Queue:
        """Give the queue behind a contact link, which is everybody's to look at."""
        queue = there(await self._store.look_up(Party.LINK, asked.entity_id))
        if queue.mode is Mode.MESSAGING or is_secured(queue):
            raise Refused
        return queue

    def check(self, asked: Transmission, keys: Iterable[PublicKey]) -> None:
        """See that the owner of one of these keys has authorized a command."""
        kind = Kind.X25519 if len(asked.authorization) == AUTHENTICATOR_SIZE else Kind.ED25519
        of_kind = [key for key in keys if key.kind is kind]
        found = [self._check(asked, key) for key in of_kind or [_NOBODY[kind]]]
        if not of_kind or not any(found):
            raise Refused

    def _check(self, asked: Transmission, key: PublicKey) -> bool:
        if key.kind is Kind.ED25519:
            return is_signed(asked, self._session_id, key)
        known = self._box_keys.get(key.raw)
        try:
            box_key = known or agreed_box_key(self._session_key.raw, key.raw, "a queue's key")
        except MalformedBlock:
            return False
        found = is_authenticated(asked, self._session_id, box_key)
        if found and known is None:
            # What is refused is never remembered: the second refusal has to take as long as the first.
            self._box_keys[key.raw] = box_key
            if len(self._box_keys) > _MOST_BOX_KEYS:
                del self._box_keys[next(iter(self._box_keys))]
        return found

    async def _let_pass(self, asked: Transmission, party: Party, keys: Iterable[PublicKey]) -> None:
        try:
            self.check(asked, keys)
        except Refused:
            # Whether the queue was known without it or not: the file is looked into, so that both take as long.
            await self._store.look_up(party, asked.entity_id)
            raise


def there(queue: Queue | None) -> Queue:
    """Refuse where there is no such queue, or not any more."""
    if queue is None:
        raise Refused
    return queue


def is_secured(queue: Queue) -> bool:
    """Tell whether a queue has one sender, and knows the key."""
    return queue.mode is not Mode.CONTACT and queue.sender_key is not None


def check_credentials(asked: Transmission, command: Command) -> None:
    """Refuse a command that lacks an authorization or a queue's id, or has one too many."""
    authorized, named = bool(asked.authorization), bool(asked.entity_id)
    fault = None
    match command:
        case Ping() if authorized or named:
            fault = "HAS_AUTH"
        case New() if not authorized:
            fault = "NO_AUTH"
        case New() if named:
            fault = "HAS_AUTH"
        case Send() | LinkGet() if not named:
            fault = "NO_ENTITY"
        case LinkGet() if authorized:
            fault = "HAS_AUTH"
        case Ping() | New() | Send() | LinkGet():
            pass
        case _ if not (authorized and named):
            fault = "NO_AUTH"
    if fault is not None:
        raise Refused(f"CMD {fault}")
