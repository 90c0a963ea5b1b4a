"""What is asked of a messaging server: queues, their messages, and links to them (docs/smp.md, "Commands")."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.client.connection import Push
from onion_rdv.smp.wire import commands, replies
from onion_rdv.smp.wire.commands import Mode, QueueLink
from onion_rdv.smp.wire.crypto import agreed_box_key
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.link_data import sender_id as sender_id_for
from onion_rdv.smp.wire.transmissions import CORRELATION_ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.smp.client.connection import SmpConnection
    from onion_rdv.smp.wire.commands import LinkData
    from onion_rdv.smp.wire.replies import Lnk, Msg

_T = TypeVar("_T")


def fresh_key(kind: Kind = Kind.X25519) -> PrivateKey:
    """Make a key; X25519 is what commands are best authorized with: only the server can check it."""
    return PrivateKey(kind, secrets.token_bytes(kind.size))


@dataclass(frozen=True, slots=True)
class RecipientQueue:
    """A queue of ours at a server: the names that the server gave it, and what it takes to use it."""

    recipient_id: bytes = field(repr=False)
    sender_id: bytes = field(repr=False)
    link_id: bytes | None = field(repr=False)
    key: PrivateKey
    box_key: bytes = field(repr=False)

    def open(self, message: Msg) -> Delivery:
        """Take a message out of the server's box; raises :class:`~onion_rdv.errors.MalformedBlock`."""
        return Delivery.open(self.box_key, message.message_id, message.body)


@dataclass(frozen=True, slots=True)
class SenderQueue:
    """Somebody else's queue that we may send to; ``key`` is None where it was not secured."""

    sender_id: bytes = field(repr=False)
    key: PrivateKey | None


async def ping(connection: SmpConnection) -> None:
    """See that the server answers."""
    _expect(await connection.request(commands.Ping()), replies.Pong)


async def create_queue(
    connection: SmpConnection,
    *,
    mode: Mode = Mode.MESSAGING,
    password: str | None = None,
    link: Callable[[bytes], LinkData] | None = None,
) -> RecipientQueue:
    """Make a queue and subscribe to it; with ``link`` also a link to it.

    ``link`` is called with the sender id that the queue will have, and gives the data that the link leads to. Raises
    :class:`~onion_rdv.errors.QueueRefused` where the server wants another password for this, and otherwise as
    :meth:`~onion_rdv.smp.client.SmpConnection.request` does.
    """
    key, dh_key = fresh_key(), fresh_key()
    correlation_id = secrets.token_bytes(CORRELATION_ID_SIZE)
    sender_id = sender_id_for(correlation_id)
    new = commands.New(
        key.public,
        dh_key.public,
        mode,
        None if password is None else password.encode(),
        link=None if link is None else QueueLink(sender_id, link(sender_id)),
    )
    ids = _expect(await connection.request(new, key=key, correlation_id=correlation_id), replies.Ids)
    if link is not None and (ids.sender_id != sender_id or ids.link_id is None):
        raise MalformedBlock("a reply: the server made another queue than was asked for")
    box_key = agreed_box_key(dh_key.raw, ids.server_key.raw, "a reply")
    return RecipientQueue(ids.recipient_id, ids.sender_id, ids.link_id, key, box_key)


async def subscribe(connection: SmpConnection, queue: RecipientQueue) -> None:
    """Get what comes to a queue, and what waits in it, among the connection's pushes."""
    reply = await connection.request(commands.Sub(), entity_id=queue.recipient_id, key=queue.key)
    _expect_done_or_message(connection, queue, reply)


async def acknowledge(connection: SmpConnection, queue: RecipientQueue, message_id: bytes) -> None:
    """Say that a message has arrived; the next one, if there is one, comes among the connection's pushes."""
    reply = await connection.request(commands.Ack(message_id), entity_id=queue.recipient_id, key=queue.key)
    _expect_done_or_message(connection, queue, reply)


async def delete(connection: SmpConnection, queue: RecipientQueue) -> None:
    """Delete a queue of ours, with the messages in it and the link to it."""
    reply = await connection.request(commands.Delete(), entity_id=queue.recipient_id, key=queue.key)
    _expect(reply, replies.Ok)


async def secure(connection: SmpConnection, queue: SenderQueue) -> None:
    """Secure somebody's messaging queue for our key; again with the same key does no harm."""
    if queue.key is None:
        raise ValueError("there is no key to secure the queue for")
    command = commands.SenderKey(queue.key.public)
    _expect(await connection.request(command, entity_id=queue.sender_id, key=queue.key), replies.Ok)


async def send(connection: SmpConnection, queue: SenderQueue, body: bytes) -> None:
    """Put a message into somebody's queue; when this returns, the server has it.

    Raises :class:`~onion_rdv.errors.QueueFull`, :class:`~onion_rdv.errors.QueueRefused`, and otherwise as
    :meth:`~onion_rdv.smp.client.SmpConnection.request` does.
    """
    _expect(await connection.request(commands.Send(body), entity_id=queue.sender_id, key=queue.key), replies.Ok)


async def get_link(connection: SmpConnection, link_id: bytes) -> Lnk:
    """Get what a contact link leads to. One-time links are refused, and stay unused."""
    return _expect(await connection.request(commands.LinkGet(), entity_id=link_id), replies.Lnk)


async def use_up_link(connection: SmpConnection, link_id: bytes, key: PrivateKey) -> Lnk:
    """Get what a one-time link leads to, and secure its queue for ``key``: nobody else can open it from then on."""
    return _expect(await connection.request(commands.LinkKey(key.public), entity_id=link_id, key=key), replies.Lnk)


def _expect_done_or_message(connection: SmpConnection, queue: RecipientQueue, reply: replies.Reply) -> None:
    if isinstance(reply, replies.Msg):
        connection.put_back(Push(queue.recipient_id, reply))
    elif not isinstance(reply, replies.Ok | replies.Sok):
        raise _unexpected()


def _expect(reply: replies.Reply, kind: type[_T]) -> _T:
    if not isinstance(reply, kind):
        raise _unexpected()
    return reply


def _unexpected() -> MalformedBlock:
    return MalformedBlock("a reply: it answers something else than was asked")
