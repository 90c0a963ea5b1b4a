"""What a server answers, or says by itself (docs/smp.md, "Commands")."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Self

from onion_rdv.smp.wire.commands import LinkData, Mode
from onion_rdv.smp.wire.encoding import Reader, maybe, short
from onion_rdv.smp.wire.keys import Kind, PublicKey
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE
from onion_rdv.smp.wire.versions import NOTIFIER_FIELD, SERVICE_FIELD
from onion_rdv.smp.wire.words import Word

if TYPE_CHECKING:
    from collections.abc import Callable

_WHAT: Final = "a reply"
_CODE: Final = re.compile(rb"[A-Z_]+(?: .*)?", re.DOTALL)
_NOT_PLAIN: Final = re.compile(rb"[^ -~]")


@dataclass(frozen=True, slots=True)
class Ids:
    """A queue was made: its names for recipient, sender and link, and the server's key for its messages' boxes."""

    TAG: ClassVar = b"IDS"

    recipient_id: bytes
    sender_id: bytes
    server_key: PublicKey
    mode: Mode | None = None
    link_id: bytes | None = None

    def encode(self, version: int) -> bytes:
        """Give its bytes."""
        return b"".join(
            (
                self.TAG,
                b" ",
                short(self.recipient_id),
                short(self.sender_id),
                short(self.server_key.encode()),
                maybe(None if self.mode is None else self.mode.value),
                maybe(None if self.link_id is None else short(self.link_id)),
                maybe(None) if version >= SERVICE_FIELD else b"",
                maybe(None) if version >= NOTIFIER_FIELD else b"",
            )
        )

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:
        """Take it from a reply."""
        recipient_id, sender_id = reader.short(ENTITY_ID_SIZE), reader.short(ENTITY_ID_SIZE)
        server_key = PublicKey.decode(reader.short(), _WHAT, Kind.X25519)
        letter = reader.maybe(lambda: reader.take(1))
        mode = next((mode for mode in Mode if mode.value == letter), None)
        if letter is not None and mode is None:
            raise reader.fault("its queue is of a mode that is not known")
        link_id = reader.maybe(lambda: reader.short(ENTITY_ID_SIZE))
        if version >= SERVICE_FIELD:
            reader.expect(maybe(None))
        if version >= NOTIFIER_FIELD:
            reader.expect(maybe(None))
        return cls(recipient_id, sender_id, server_key, mode, link_id)


@dataclass(frozen=True, slots=True)
class Lnk:
    """What a link leads to: the queue's name for senders, and the data that its maker left."""

    TAG: ClassVar = b"LNK"

    sender_id: bytes
    data: LinkData

    def encode(self, version: int) -> bytes:  # noqa: ARG002 - every reply has this method
        """Give its bytes."""
        return self.TAG + b" " + short(self.sender_id) + self.data.encode()

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:  # noqa: ARG003
        """Take it from a reply."""
        return cls(reader.short(ENTITY_ID_SIZE), LinkData.read(reader))


@dataclass(frozen=True, slots=True)
class Sok:
    """Subscribed; before version 16 a server says :class:`Ok` instead."""

    TAG: ClassVar = b"SOK"

    def encode(self, version: int) -> bytes:
        """Give its bytes."""
        return self.TAG + b" " + maybe(None) if version >= SERVICE_FIELD else Ok.TAG

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:  # noqa: ARG003
        """Take it from a reply."""
        reader.expect(maybe(None))
        return cls()


@dataclass(frozen=True, slots=True)
class Msg:
    """A message from a queue; ``body`` is a box for its recipient (see ``envelopes.py``)."""

    TAG: ClassVar = b"MSG"

    message_id: bytes
    body: bytes = field(repr=False)

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return b"".join((self.TAG, b" ", short(self.message_id), self.body))

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:  # noqa: ARG003
        """Take it from a reply."""
        return cls(reader.short(ENTITY_ID_SIZE), reader.rest())


@dataclass(frozen=True, slots=True)
class Info:
    """What the server says of a queue: JSON."""

    TAG: ClassVar = b"INFO"

    json: bytes

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return self.TAG + b" " + self.json

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:  # noqa: ARG003
        """Take it from a reply."""
        return cls(reader.rest())


@dataclass(frozen=True, slots=True)
class Err:
    """The server refuses; ``code`` is what follows ``ERR``: ``AUTH``, ``CMD SYNTAX`` and so on.

    It is plain ASCII: after the name a server may add words of its own, and whatever else is in them becomes ``?``.
    """

    TAG: ClassVar = b"ERR"

    code: str

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return self.TAG + b" " + self.code.encode("ascii")

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:  # noqa: ARG003
        """Take it from a reply."""
        code = reader.rest()
        if not _CODE.fullmatch(code):
            raise reader.fault("its error has no name")
        return cls(_NOT_PLAIN.sub(b"?", code).decode("ascii"))


@dataclass(frozen=True, slots=True)
class Ok(Word):
    """Done."""

    TAG: ClassVar = b"OK"


@dataclass(frozen=True, slots=True)
class Pong(Word):
    """The server is there."""

    TAG: ClassVar = b"PONG"


@dataclass(frozen=True, slots=True)
class End(Word):
    """Another connection has subscribed to this queue."""

    TAG: ClassVar = b"END"


@dataclass(frozen=True, slots=True)
class Deleted(Word):
    """This queue was deleted over another connection."""

    TAG: ClassVar = b"DELD"


Reply = Ids | Lnk | Sok | Msg | Info | Err | Ok | Pong | End | Deleted

_BARE: Final[dict[bytes, Callable[[], Reply]]] = {reply.TAG: reply for reply in (Ok, Pong, End, Deleted)}
_READ: Final[dict[bytes, Callable[[Reader, int], Reply]]] = {
    reply.TAG: reply.read for reply in (Ids, Lnk, Sok, Msg, Info, Err)
}


def parse_reply(data: bytes, version: int) -> Reply:
    """Read a reply; raises :class:`~onion_rdv.errors.MalformedBlock`."""
    tag, space, rest = data.partition(b" ")
    reader = Reader(rest, _WHAT)
    if tag in _BARE:
        if space:
            raise reader.fault("there is more than belongs there")
        return _BARE[tag]()
    if tag not in _READ:
        raise reader.fault("it is none that SMP knows")
    if not space:
        raise reader.fault("it is cut short")
    reply = _READ[tag](reader, version)
    reader.end()
    return reply
