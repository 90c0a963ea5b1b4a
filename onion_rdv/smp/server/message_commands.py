"""Commands about messages: sending them, and getting them one by one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from onion_rdv.smp.server.permission import Refused, is_secured
from onion_rdv.smp.server.queue_info import queue_info
from onion_rdv.smp.server.queues import Message, Queue, Sent
from onion_rdv.smp.server.subscriptions import Subscription
from onion_rdv.smp.wire.commands import MAX_BODY_SIZE
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.replies import Info, Msg, Ok
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE

if TYPE_CHECKING:
    from onion_rdv.smp.server.house import House
    from onion_rdv.smp.server.permission import Doorkeeper
    from onion_rdv.smp.server.subscriptions import Subscriber
    from onion_rdv.smp.wire.commands import Ack, Delete, Get, Que, Send
    from onion_rdv.smp.wire.transmissions import Transmission


class MessageCommands:
    """Those of one connection. Methods raise :class:`Refused` or :class:`~onion_rdv.errors.StoreError`."""

    def __init__(self, house: House, doorkeeper: Doorkeeper, subscriber: Subscriber) -> None:
        self._store = house.store
        self._everybodys = house.subscriptions
        self._clock = house.clock
        self._doorkeeper = doorkeeper
        self._subscriber = subscriber
        self._own: dict[bytes, Subscription] = {}

    @property
    def has_subscriptions(self) -> bool:
        """Whether messages may come that nobody asks for."""
        return bool(self._own)

    def close(self) -> None:
        """Give up all subscriptions."""
        for subscription in self._own.values():
            self._everybodys.remove(subscription)
        self._own.clear()

    def forget(self, subscription: Subscription) -> None:
        """Forget a subscription that ended elsewhere."""
        self._own.pop(subscription.recipient_id, None)

    def is_own(self, subscription: Subscription) -> bool:
        """Tell whether a subscription has not ended."""
        return self._own.get(subscription.recipient_id) is subscription

    # Sending

    async def send(self, asked: Transmission, command: Send) -> Ok:
        """Put a message into a queue."""
        queue = await self._doorkeeper.senders_queue(asked)
        if len(command.body) > MAX_BODY_SIZE:
            raise Refused("LARGE_MSG")
        if queue.is_off:
            raise Refused
        if queue.link_id is not None and is_secured(queue):
            await self._store.delete_link(queue)  # it has led somebody here, and nobody else may come
        message = Message(secrets.token_bytes(ENTITY_ID_SIZE), int(self._clock()), command.body, command.notify)
        sent = await self._store.send(queue, message)
        if sent is Sent.FULL:
            raise Refused("QUOTA")
        if sent is Sent.REFUSED:
            raise Refused
        self._everybodys.message_came(queue, message if sent is Sent.KEPT_FIRST else None)
        return Ok()

    # Getting

    def subscribe_new(self, queue: Queue) -> None:
        """Subscribe to a queue that was just made."""
        self._add(queue)

    async def subscribe(self, asked: Transmission, *, is_alone: bool) -> Msg | None:
        """Subscribe to a queue; gives the first message that waits there, or brings it later if others are asked for.

        So the messages of a block of subscriptions are read one by one, as the client takes them.
        """
        queue = await self._doorkeeper.recipients_queue(asked)
        subscription = self._own.get(queue.recipient_id)
        if subscription is None:
            subscription = self._add(queue)
        elif subscription.by_get:
            raise Refused("CMD PROHIBITED")
        if not is_alone:
            subscription.delivered = None  # what was sent and is not acknowledged is sent again
            self._subscriber.bring(subscription, queue, None)
            return None
        message = await self.next_message(subscription, queue)
        return None if message is None else delivery(queue, message)

    async def get(self, asked: Transmission, _command: Get) -> Msg | Ok:
        """Give the first message that waits in a queue, without subscribing."""
        queue = await self._doorkeeper.recipients_queue(asked)
        subscription = self._own.get(queue.recipient_id)
        if subscription is None:
            subscription = Subscription(self._subscriber, queue.recipient_id, by_get=True)
            self._own[queue.recipient_id] = subscription
        elif not subscription.by_get:
            raise Refused("CMD PROHIBITED")
        message = await self.next_message(subscription, queue)
        return Ok() if message is None else delivery(queue, message)

    async def acknowledge(self, asked: Transmission, command: Ack) -> Msg | Ok:
        """Erase a message that has arrived; a subscriber gets the next one."""
        queue = await self._doorkeeper.recipients_queue(asked)
        subscription = self._own.get(queue.recipient_id)
        if (
            subscription is None
            or subscription.delivered is None
            or command.message_id not in {subscription.delivered, b""}
        ):
            raise Refused("NO_MSG")
        message = await self.next_message(subscription, queue, acknowledged=subscription.delivered)
        return Ok() if message is None else delivery(queue, message)

    async def next_message(
        self, subscription: Subscription, queue: Queue, *, acknowledged: bytes | None = None
    ) -> Message | None:
        """Give the message to send next, and count it as sent; erase one that has arrived before.

        Who asked with ``GET`` asks again for the next.
        """
        before, subscription.delivered = subscription.delivered, None
        subscription.is_busy = True
        try:
            subscription.has_missed = False
            if acknowledged is None:
                message = await self._store.first(queue)
            else:
                message = await self._store.acknowledge(queue, acknowledged)
            while message is None and subscription.has_missed:
                subscription.has_missed = False
                message = await self._store.first(queue)
        except BaseException:
            subscription.delivered = before
            raise
        finally:
            subscription.is_busy = False
        if message is None or (acknowledged is not None and subscription.by_get):
            return None
        subscription.delivered = message.message_id
        return message

    # Looking, and deleting

    async def info(self, asked: Transmission, _command: Que) -> Info:
        """Say how a queue is."""
        queue = await self._doorkeeper.recipients_queue(asked)
        contents = await self._store.contents(queue)
        return Info(queue_info(queue, contents, self._own.get(queue.recipient_id)))

    async def delete(self, asked: Transmission, _command: Delete) -> Ok:
        """Delete a queue with everything in it."""
        queue = await self._doorkeeper.recipients_queue(asked)
        if not await self._store.delete(queue):
            raise Refused
        self._own.pop(queue.recipient_id, None)
        self._everybodys.queue_deleted(queue.recipient_id, self._subscriber)
        return Ok()

    def _add(self, queue: Queue) -> Subscription:
        subscription = Subscription(self._subscriber, queue.recipient_id)
        self._own[queue.recipient_id] = subscription
        self._everybodys.add(subscription)
        return subscription


def delivery(queue: Queue, message: Message) -> Msg:
    """Put a message into its recipient's box."""
    box = Delivery(message.time, message.body, message.notify).seal(queue.box_key, message.message_id)
    return Msg(message.message_id, box)
