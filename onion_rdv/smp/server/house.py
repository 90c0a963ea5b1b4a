"""What all connections of a server share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onion_rdv.smp.server.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.smp.server.queue_store import QueueStore


@dataclass(frozen=True)
class House:
    """The store, who waits for what, and the rules; ``password`` is what ``NEW`` has to bring, where it has to."""

    store: QueueStore
    password: bytes | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
