"""What tests of the queue store share."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from onion_rdv.smp.server.queue_store import QueueStore
from onion_rdv.smp.server.queues import Message, NewQueue, Queue
from onion_rdv.smp.wire.commands import LinkData, Mode
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey

if TYPE_CHECKING:
    from pathlib import Path

TICK = 0.005

FILE = "queues.sqlite"


async def open_queues(directory: Path, **settings: Any) -> QueueStore:
    return await QueueStore.open(directory / FILE, **{"tick": TICK, **settings})


def a_key() -> PublicKey:
    return PrivateKey(Kind.X25519, secrets.token_bytes(32)).public


def some_data() -> LinkData:
    return LinkData(secrets.token_bytes(2048), secrets.token_bytes(13_824))


def new_queue(*, mode: Mode = Mode.MESSAGING, link: LinkData | None = None) -> NewQueue:
    ids = [secrets.token_bytes(24) for _ in range(3)]
    queue = Queue(
        recipient_id=ids[0],
        sender_id=ids[1],
        recipient_keys=(a_key(),),
        box_key=secrets.token_bytes(32),
        mode=mode,
        link_id=None if link is None else ids[2],
    )
    return NewQueue(queue, link)


async def make_queue(store: QueueStore, **settings: Any) -> Queue:
    made = await store.create(new_queue(**settings))
    assert made is not None
    return made


def a_message(at: int | None = None) -> Message:
    at = int(time.time()) if at is None else at
    return Message(secrets.token_bytes(24), at, secrets.token_bytes(16_000), notify=secrets.randbelow(2) == 1)
