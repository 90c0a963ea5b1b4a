"""What the server keeps: queues, what their links lead to, and the messages in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onion_rdv.smp.wire.commands import LinkData, Mode
    from onion_rdv.smp.wire.keys import PublicKey

QUOTA = 128
"""Messages that wait in a queue at most. A mark follows where one more was sent, and nothing until all are gone."""


class Party(Enum):
    """Who names a queue; each has an id of their own for it. The value is the column."""

    RECIPIENT = "recipient_id"
    SENDER = "sender_id"
    LINK = "link_id"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it stands on the disk; ``key`` is the store's own name of it, 0 before it has one.

    ``box_key`` is agreed between the recipient's X25519 key and one of the server's, which is forgotten then.
    """

    recipient_id: bytes
    sender_id: bytes
    recipient_keys: tuple[PublicKey, ...]
    box_key: bytes = field(repr=False)
    mode: Mode | None = None
    link_id: bytes | None = None
    sender_key: PublicKey | None = None
    is_off: bool = False
    key: int = 0

    def id_for(self, party: Party) -> bytes | None:
        """Give the id by which a party names it."""
        match party:
            case Party.RECIPIENT:
                return self.recipient_id
            case Party.SENDER:
                return self.sender_id
            case Party.LINK:
                return self.link_id


@dataclass(frozen=True, slots=True)
class Message:
    """A message that waits; ``body`` is None in the mark of a queue that was full. ``time`` is in Unix seconds.

    ``message_id`` is as long as every id, and the nonce of the message's box as well.
    """

    message_id: bytes
    time: int
    body: bytes | None = field(repr=False)
    notify: bool = False


@dataclass(frozen=True, slots=True)
class NewQueue:
    """A queue to make, with what its link leads to where it has one."""

    queue: Queue
    link: LinkData | None = None


class Sent(Enum):
    """What became of a message that was sent."""

    KEPT = "it waits behind others"
    KEPT_FIRST = "it waits, and nothing else does"
    FULL = "there is no room"
    REFUSED = "nothing may be sent to that queue"


@dataclass(frozen=True, slots=True)
class Contents:
    """What waits in a queue: how many (the mark counts too), and the first."""

    size: int
    first: Message | None
