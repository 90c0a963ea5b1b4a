"""What waits to be sent, what is on its way, and what has arrived.

One frame is on its way at a time, so that the server cannot mix up their order; whatever is said meanwhile waits and
shares the next one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from onion_rdv.client.talk.frames import (
    ITEMS_SIZE,
    Item,
    Ping,
    Receipt,
    Text,
    TextBegun,
    room_for_text,
    size_of,
)
from onion_rdv.errors import TalkBroken

if TYPE_CHECKING:
    from onion_rdv.client.talk.frames import Sealer


class Outgoing(NamedTuple):
    """A message for the other's queue; the same one until the server has it."""

    number: int
    message: bytes


@dataclass(slots=True)
class _Waiting:
    """A person's message of which the last piece is not sealed yet."""

    name: int
    left: bytes = field(repr=False)


class Outbox:
    """Makes frames of what is said, and keeps each until the server has it."""

    def __init__(self, sealer: Sealer) -> None:
        """Seal frames with ``sealer``."""
        self._sealer = sealer
        self._waiting: deque[_Waiting | Item] = deque()
        self._on_its_way: Outgoing | None = None
        self._said = 0
        self.dropped = 0
        """How many messages will never be sent."""
        self.waiting_size = 0
        """How many bytes wait that are in no frame yet."""
        self._receipt: int | None = None
        self._wants_sign = False
        self._last_wanting = 0  # the last frame that wants a receipt
        self._asked = 0  # the last of these that the server has
        self._arrived = 0
        self._in_frames: deque[tuple[int, int]] = deque()  # (frame with the last piece, message), not at the server
        self._not_arrived: deque[tuple[int, int]] = deque()  # the same, at the server or not

    @property
    def is_empty(self) -> bool:
        """Whether the server has everything but receipts."""
        return not self._waiting and (self._on_its_way is None or self._on_its_way.number > self._last_wanting)

    @property
    def is_answered(self) -> bool:
        """Whether all frames that want a receipt have theirs."""
        return self._last_wanting <= self._arrived and not self._wants_sign

    @property
    def asks(self) -> bool:
        """Whether something that wants an answer lies at the server."""
        return self._arrived < self._asked

    @property
    def undelivered(self) -> int:
        """How many of the person's messages have not arrived."""
        return self.dropped + len(self._not_arrived) + self._count_waiting()

    def say(self, text: bytes) -> int:
        """Let a message wait; gives its number, counted from 1."""
        self._said += 1
        self.waiting_size += size_of(Text(text))
        self._waiting.append(_Waiting(self._said, text))
        return self._said

    def add(self, item: Item) -> None:
        """Let an item wait after everything that was said before."""
        self._waiting.append(item)

    def receipt(self, number: int) -> None:
        """Tell the other, in the next frame, that its frames up to this number have arrived."""
        self._receipt = number

    def ask_for_sign(self) -> None:
        """Ask the other for a receipt, unless something else asks for one anyway."""
        self._wants_sign = True

    def clear(self) -> None:
        """Drop whatever waits, except a receipt; what a person said counts as undelivered for good."""
        self.dropped += self._count_waiting()
        self.waiting_size = 0
        self._waiting.clear()
        self._wants_sign = False

    def outgoing(self) -> Outgoing | None:
        """Give what has to be sent now."""
        if self._on_its_way is None:
            self._on_its_way = self._compose()
        return self._on_its_way

    def sent(self, number: int) -> list[int]:
        """Note that the server has frame ``number``; gives the messages of which it now has all."""
        if self._on_its_way is None or self._on_its_way.number != number:
            return []
        self._on_its_way = None
        if number == self._last_wanting:
            self._asked = number
        return _take(self._in_frames, number)

    def arrived(self, number: int) -> tuple[list[int], list[int]]:
        """Note that the other has all frames up to ``number``; gives messages sent, and messages arrived, by that.

        Raises :class:`~onion_rdv.errors.TalkBroken` for a frame that there never was.
        """
        if number > self._sealer.number:
            raise TalkBroken("it acknowledges what was never sent")
        # What has arrived was sent, even if the server's word for it was lost on the way.
        sent = self.sent(number)
        self._arrived = max(self._arrived, number)
        return sent, _take(self._not_arrived, number)

    def _count_waiting(self) -> int:
        return sum(isinstance(waiting, _Waiting) for waiting in self._waiting)

    def _compose(self) -> Outgoing | None:
        items: list[Item] = []
        room = ITEMS_SIZE
        if self._receipt is not None:
            items.append(Receipt(self._receipt))
            room -= size_of(items[0])
        number = self._sealer.number + 1
        while self._waiting:
            item = self._next_that_fits(room, number)
            if item is None:
                break
            items.append(item)
            room -= size_of(item)
        if self._wants_sign and items in ([], [Receipt(self._receipt or 0)]):
            items.append(Ping())
        if not items:
            return None
        if not all(isinstance(item, Receipt) for item in items):
            self._last_wanting = number
        self._receipt, self._wants_sign = None, False
        return Outgoing(number, self._sealer.seal(items))

    def _next_that_fits(self, room: int, number: int) -> Item | None:
        waiting = self._waiting[0]
        if not isinstance(waiting, _Waiting):
            return self._waiting.popleft() if size_of(waiting) <= room else None  # type: ignore[return-value]
        fits = room_for_text(room)
        if len(waiting.left) <= fits:
            self._waiting.popleft()
            self._in_frames.append((number, waiting.name))
            self._not_arrived.append((number, waiting.name))
            self.waiting_size -= size_of(Text(waiting.left))
            return Text(waiting.left)
        if fits <= 0:
            return None
        piece, waiting.left = waiting.left[:fits], waiting.left[fits:]
        self.waiting_size -= len(piece)
        return TextBegun(piece)


def _take(messages: deque[tuple[int, int]], number: int) -> list[int]:
    """Take out the messages whose last piece is in a frame up to this number."""
    taken = []
    while messages and messages[0][0] <= number:
        taken.append(messages.popleft()[1])
    return taken
