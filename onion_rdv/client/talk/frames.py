"""What stands in a frame, and how it is sealed (docs/talk.md, "Frames").

A frame holds one or more items, is numbered from 1 in each direction, and has a key of its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from onion_rdv.client.talk.keys import NONCE_SIZE
from onion_rdv.errors import MalformedBlock, TalkBroken
from onion_rdv.smp.wire.encoding import Reader, large
from onion_rdv.smp.wire.envelopes import MAX_MESSAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onion_rdv.client.talk.keys import Chain

FRAME = b"F"
_NUMBER_SIZE = 8
_TAG_SIZE = 16
_ITEM_HEAD_SIZE = 3
_HEAD_SIZE = len(FRAME) + _NUMBER_SIZE

ITEMS_SIZE = MAX_MESSAGE_SIZE - _HEAD_SIZE - _TAG_SIZE
"""Bytes that the items of one frame may have together, so that it fills an envelope."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The beginner's nonce, in the first frame to the joiner and nowhere else."""

    type: ClassVar[int] = 1
    nonce: bytes = field(repr=False)

    def body(self) -> bytes:
        """Give what follows the item's length."""
        return self.nonce


@dataclass(frozen=True, slots=True)
class Text:
    """A message in UTF-8, or its last piece."""

    type: ClassVar[int] = 2
    piece: bytes = field(repr=False)

    def body(self) -> bytes:
        """Give what follows the item's length."""
        return self.piece


@dataclass(frozen=True, slots=True)
class TextBegun:
    """A piece of a message that goes on in the next item of text."""

    type: ClassVar[int] = 3
    piece: bytes = field(repr=False)

    def body(self) -> bytes:
        """Give what follows the item's length."""
        return self.piece


@dataclass(frozen=True, slots=True)
class Receipt:
    """All frames up to this number have arrived."""

    type: ClassVar[int] = 4
    number: int

    def body(self) -> bytes:
        """Give what follows the item's length."""
        return self.number.to_bytes(_NUMBER_SIZE, "big")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A person has compared the codes."""

    type: ClassVar[int] = 6
    same: bool

    def body(self) -> bytes:
        """Give what follows the item's length."""
        return bytes([self.same])


@dataclass(frozen=True, slots=True)
class _Word:
    """An item that says all by its type."""

    type: ClassVar[int]

    def body(self) -> bytes:
        """Give what follows the item's length: nothing."""
        return b""


class Ping(_Word):
    """Asks for a receipt."""

    type = 5


class InputEnded(_Word):
    """Nobody need wait for the end of this end's input."""

    type = 7


class Bye(_Word):
    """This end leaves; nothing comes after it."""

    type = 8


Item = Welcome | Text | TextBegun | Receipt | Ping | Verdict | InputEnded | Bye


def size_of(item: Item) -> int:
    """Give the bytes that an item takes in a frame."""
    return _ITEM_HEAD_SIZE + len(item.body())


def room_for_text(room: int) -> int:
    """Give how many bytes of text an item can hold where so many bytes are left in a frame; less than 0 for none."""
    return room - _ITEM_HEAD_SIZE


def encode_items(items: Iterable[Item]) -> bytes:
    """Write items one after the other: type, length, body."""
    return b"".join(bytes([item.type]) + large(item.body()) for item in items)


def decode_items(data: bytes) -> list[Item]:
    """Read items; raises :class:`~onion_rdv.errors.TalkBroken` for anything but one or more whole items."""
    with broken_talk():
        reader = Reader(data, "a frame")
        items: list[Item] = []
        while reader.left or not items:
            items.append(_decode_item(reader.u8(), Reader(reader.large(), "an item of a frame")))
        return items


def _decode_item(kind: int, body: Reader) -> Item:
    item: Item
    match kind:
        case Welcome.type:
            item = Welcome(body.take(NONCE_SIZE))
        case Text.type:
            item = Text(body.rest())
        case TextBegun.type:
            item = TextBegun(body.rest())
        case Receipt.type:
            item = Receipt(int.from_bytes(body.take(_NUMBER_SIZE), "big"))
        case Verdict.type:
            verdict = body.u8()
            if verdict > 1:
                raise body.fault("a verdict in it is neither same nor different")
            item = Verdict(bool(verdict))
        case Ping.type | InputEnded.type | Bye.type:
            item = {word.type: word for word in (Ping, InputEnded, Bye)}[kind]()
        case _:
            raise body.fault(f"it is of type {kind}, which is unknown")
    body.end()
    return item


@contextmanager
def broken_talk() -> Iterator[None]:
    """Turn what the reader of bytes complains of into :class:`~onion_rdv.errors.TalkBroken`."""
    try:
        yield
    except MalformedBlock as error:
        raise TalkBroken(error.detail) from None


class Sealer:
    """Seals the frames of one direction, in order; ``number`` is that of the last one."""

    def __init__(self, chain: Chain) -> None:
        """Take keys from a chain that nobody else uses."""
        self._chain = chain
        self.number = 0

    def seal(self, items: Iterable[Item]) -> bytes:
        """Give the message that holds these items."""
        self.number += 1
        head = FRAME + self.number.to_bytes(_NUMBER_SIZE, "big")
        return head + crypto_aead_xchacha20poly1305_ietf_encrypt(
            encode_items(items), head, _nonce(self.number), self._chain.step()
        )


class Opener:
    """Opens the frames of one direction, each once; ``number`` is that of the last one."""

    def __init__(self, chain: Chain) -> None:
        """Take keys from a chain that nobody else uses."""
        self._chain = chain
        self.number = 0

    def open(self, message: bytes) -> list[Item] | None:
        """Give the items of the next frame; None where this one was opened before.

        Raises :class:`~onion_rdv.errors.TalkBroken` for anything else, and then nothing has changed.
        """
        with broken_talk():
            reader = Reader(message, "a message")
            reader.expect(FRAME)
            number = int.from_bytes(reader.take(_NUMBER_SIZE), "big")
            sealed = reader.rest()
        if number <= self.number:
            return None
        if number > self.number + 1:
            raise TalkBroken(f"frame {self.number + 1} is missing")
        try:
            opened = crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed, message[:_HEAD_SIZE], _nonce(number), self._chain.look()
            )
        except (CryptoError, ValueError):  # the latter for what is shorter than a tag
            raise TalkBroken(f"frame {number} does not open") from None
        items = decode_items(opened)
        self._chain.step()
        self.number = number
        return items


def _nonce(number: int) -> bytes:
    return number.to_bytes(24, "big")
