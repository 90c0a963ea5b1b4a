"""The client's side of SMP: a connection through Tor, and what is asked over it."""

from onion_rdv.smp.client.connection import Push, SmpConnection
from onion_rdv.smp.client.queues import (
    RecipientQueue,
    SenderQueue,
    acknowledge,
    create_queue,
    delete,
    get_link,
    ping,
    secure,
    send,
    subscribe,
    use_up_link,
)

__all__ = [
    "Push",
    "RecipientQueue",
    "SenderQueue",
    "SmpConnection",
    "acknowledge",
    "create_queue",
    "delete",
    "get_link",
    "ping",
    "secure",
    "send",
    "subscribe",
    "use_up_link",
]
