"""Who gets what comes to a queue: at most one connection, and one message at a time until it is acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onion_rdv.smp.server.queues import Message, Queue


class Subscriber(Protocol):
    """A connection, as seen from here."""

    def bring(self, subscription: Subscription, queue: Queue, message: Message | None) -> None:
        """Send the first message that waits to the other side, now or when it takes more; it may have to be read."""

    def end(self, subscription: Subscription, *, deleted: bool) -> None:
        """Tell the other side that another connection has the queue now, or has deleted it."""


class Subscription:
    """One connection and one queue."""

    def __init__(self, subscriber: Subscriber, recipient_id: bytes, *, by_get: bool = False) -> None:
        """Begin; ``by_get`` is a connection that asks for each message, and is sent none by itself."""
        self.subscriber = subscriber
        self.recipient_id = recipient_id
        self.by_get = by_get
        self.delivered: bytes | None = None
        """The message that was sent and is not acknowledged."""
        self.is_busy = False
        """Whether the first message is being looked up just now, to be sent."""
        self.has_missed = False
        """Whether a message came meanwhile."""


class Subscriptions:
    """All subscriptions of a server, by the ids that recipients have."""

    def __init__(self) -> None:
        self._of_queues: dict[bytes, Subscription] = {}

    def add(self, subscription: Subscription) -> None:
        """Give a queue to a connection; another one that had it is told."""
        before = self._of_queues.get(subscription.recipient_id)
        self._of_queues[subscription.recipient_id] = subscription
        if before is not None and before.subscriber is not subscription.subscriber:
            before.subscriber.end(before, deleted=False)

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription, unless another one has taken its place."""
        if self._of_queues.get(subscription.recipient_id) is subscription:
            del self._of_queues[subscription.recipient_id]

    def queue_deleted(self, recipient_id: bytes, by: Subscriber) -> None:
        """Forget a queue's subscription; a connection that had it is told, unless it did that itself."""
        before = self._of_queues.pop(recipient_id, None)
        if before is not None and before.subscriber is not by:
            before.subscriber.end(before, deleted=True)

    def message_came(self, queue: Queue, first: Message | None) -> None:
        """Let a queue's subscriber know that a message waits, if there is one that waits for it.

        ``first`` is the message where it is known to be the first in its queue.
        """
        subscription = self._of_queues.get(queue.recipient_id)
        if subscription is None or subscription.delivered is not None:
            return
        if subscription.is_busy:
            subscription.has_missed = True
        else:
            subscription.subscriber.bring(subscription, queue, first)
