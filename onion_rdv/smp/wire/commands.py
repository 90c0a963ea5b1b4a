"""What clients ask of a server (docs/smp.md, "Commands")."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, Self

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.encoding import Reader, boolean, large, maybe, several, short
from onion_rdv.smp.wire.keys import Kind, PublicKey
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE
from onion_rdv.smp.wire.versions import NOTIFIER_FIELD
from onion_rdv.smp.wire.words import Word

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BODY_SIZE: Final = 16_048
"""Bytes that a ``SEND`` can carry in the versions known here."""

_WHAT: Final = "a command"
_AUTHORIZATION_KINDS: Final = (Kind.ED25519, Kind.X25519)


class UnknownCommand(MalformedBlock):
    """There is no such command.

    Only a server raises this, to itself.
    """


class Mode(Enum):
    """What a queue is for: one sender, who secures it; or everybody who has the link to it."""

    MESSAGING = b"M"
    CONTACT = b"C"


@dataclass(frozen=True, slots=True)
class LinkData:
    """What a link leads to, as a server keeps it: two boxes that it cannot open (see ``link_data.py``)."""

    fixed: bytes = field(repr=False)
    user: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Give its bytes."""
        return large(self.fixed) + large(self.user)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from a command or a reply."""
        return cls(reader.large(), reader.large())


@dataclass(frozen=True, slots=True)
class QueueLink:
    """A link to make together with a queue; ``link_id`` is the client's own for contact queues, None for others.

    ``sender_id`` has to be SHA3-384 of the command's correlation id, cut to 24 bytes.
    """

    sender_id: bytes
    data: LinkData
    link_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ping(Word):
    """Ask whether the server is there."""

    TAG: ClassVar = b"PING"


@dataclass(frozen=True, slots=True)
class New:
    """Make a queue; authorized with the very key that it names."""

    TAG: ClassVar = b"NEW"

    recipient_key: PublicKey
    dh_key: PublicKey
    mode: Mode | None = None
    password: bytes | None = field(default=None, repr=False)
    subscribe: bool = True
    link: QueueLink | None = None
    """Needs a mode."""

    def encode(self, version: int) -> bytes:
        """Give its bytes."""
        return b"".join(
            (
                self.TAG,
                b" ",
                short(self.recipient_key.encode()),
                short(self.dh_key.encode()),
                maybe(None if self.password is None else short(self.password)),
                b"S" if self.subscribe else b"C",
                maybe(None if self.mode is None else self.mode.value + maybe(self._link())),
                maybe(None) if version >= NOTIFIER_FIELD else b"",
            )
        )

    def _link(self) -> bytes | None:
        if self.link is None:
            return None
        link_id = b"" if self.mode is Mode.MESSAGING else short(self.link.link_id or b"")
        return link_id + short(self.link.sender_id) + self.link.data.encode()

    @classmethod
    def read(cls, reader: Reader, version: int) -> Self:
        """Take it from a command."""
        recipient_key = PublicKey.decode(reader.short(), _WHAT, *_AUTHORIZATION_KINDS)
        dh_key = PublicKey.decode(reader.short(), _WHAT, Kind.X25519)
        password = reader.maybe(reader.short)
        subscribe = reader.take(1)
        if subscribe not in {b"S", b"C"}:
            raise reader.fault("it neither subscribes nor creates only")
        queue = reader.maybe(lambda: _read_queue(reader))
        mode, link = queue or (None, None)
        if version >= NOTIFIER_FIELD:
            reader.expect(maybe(None))  # notifications are not known here
        return cls(recipient_key, dh_key, mode, password, subscribe == b"S", link)


def _read_queue(reader: Reader) -> tuple[Mode, QueueLink | None]:
    letter = reader.take(1)
    mode = next((mode for mode in Mode if mode.value == letter), None)
    if mode is None:
        raise reader.fault("its queue is of a mode that is not known")
    return mode, reader.maybe(lambda: _read_link(reader, mode))


def _read_link(reader: Reader, mode: Mode) -> QueueLink:
    link_id = None if mode is Mode.MESSAGING else reader.short(ENTITY_ID_SIZE)
    sender_id = reader.short(ENTITY_ID_SIZE)
    return QueueLink(sender_id, LinkData.read(reader), link_id)


@dataclass(frozen=True, slots=True)
class Sub(Word):
    """Get what comes to a queue, on this connection."""

    TAG: ClassVar = b"SUB"


@dataclass(frozen=True, slots=True)
class Get(Word):
    """Get one message that waits in a queue, without subscribing."""

    TAG: ClassVar = b"GET"


@dataclass(frozen=True, slots=True)
class Off(Word):
    """Let nobody send to a queue any more."""

    TAG: ClassVar = b"OFF"


@dataclass(frozen=True, slots=True)
class Delete(Word):
    """Delete a queue, with its messages and its link."""

    TAG: ClassVar = b"DEL"


@dataclass(frozen=True, slots=True)
class Que(Word):
    """Ask about a queue."""

    TAG: ClassVar = b"QUE"


@dataclass(frozen=True, slots=True)
class LinkGet(Word):
    """Get what a contact link leads to."""

    TAG: ClassVar = b"LGET"


@dataclass(frozen=True, slots=True)
class LinkDelete(Word):
    """Delete the link to a queue."""

    TAG: ClassVar = b"LDEL"


@dataclass(frozen=True, slots=True)
class _WithKey:
    TAG: ClassVar[bytes]

    key: PublicKey

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return self.TAG + b" " + short(self.key.encode())

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from a command."""
        return cls(PublicKey.decode(reader.short(), _WHAT, *_AUTHORIZATION_KINDS))


@dataclass(frozen=True, slots=True)
class Key(_WithKey):
    """Secure a queue for a sender's key, as its recipient."""

    TAG: ClassVar = b"KEY"


@dataclass(frozen=True, slots=True)
class SenderKey(_WithKey):
    """Secure a messaging queue, as its sender."""

    TAG: ClassVar = b"SKEY"


@dataclass(frozen=True, slots=True)
class LinkKey(_WithKey):
    """Secure the queue behind a one-time link, and get what the link leads to. This uses the link up."""

    TAG: ClassVar = b"LKEY"


@dataclass(frozen=True, slots=True)
class RecipientKeys:
    """Change who may receive from a contact queue; one key or more."""

    TAG: ClassVar = b"RKEY"

    keys: tuple[PublicKey, ...]

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return self.TAG + b" " + several([short(key.encode()) for key in self.keys])

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from a command."""
        keys = reader.several(lambda: PublicKey.decode(reader.short(), _WHAT, *_AUTHORIZATION_KINDS))
        if not keys:
            raise reader.fault("it names no key")
        return cls(tuple(keys))


@dataclass(frozen=True, slots=True)
class LinkSet:
    """Change what the link to a queue leads to."""

    TAG: ClassVar = b"LSET"

    link_id: bytes
    data: LinkData

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return self.TAG + b" " + short(self.link_id) + self.data.encode()

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from a command."""
        return cls(reader.short(ENTITY_ID_SIZE), LinkData.read(reader))


@dataclass(frozen=True, slots=True)
class Send:
    """Put a message into a queue; ``notify`` asks for a notification of the recipient."""

    TAG: ClassVar = b"SEND"

    body: bytes = field(repr=False)
    notify: bool = False

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return b"".join((self.TAG, b" ", boolean(self.notify), b" ", self.body))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from a command."""
        notify = reader.boolean()
        reader.expect(b" ")
        return cls(reader.rest(), notify)


@dataclass(frozen=True, slots=True)
class Ack:
    """Say that a message has arrived, so that the server forgets it."""

    TAG: ClassVar = b"ACK"

    message_id: bytes

    def encode(self, version: int) -> bytes:  # noqa: ARG002
        """Give its bytes."""
        return self.TAG + b" " + short(self.message_id)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from a command."""
        return cls(reader.short())


Command = (
    Ping
    | New
    | Sub
    | Key
    | SenderKey
    | LinkGet
    | LinkKey
    | RecipientKeys
    | LinkSet
    | LinkDelete
    | Send
    | Ack
    | Get
    | Off
    | Delete
    | Que
)

_BARE: Final[dict[bytes, Callable[[], Command]]] = {
    command.TAG: command for command in (Ping, Sub, Get, Off, Delete, Que, LinkGet, LinkDelete)
}
_READ: Final[dict[bytes, Callable[[Reader], Command]]] = {
    command.TAG: command.read for command in (Key, SenderKey, LinkKey, RecipientKeys, LinkSet, Send, Ack)
}


def parse_command(data: bytes, version: int) -> Command:
    """Read a command.

    Raises :class:`UnknownCommand`, or :class:`~onion_rdv.errors.MalformedBlock` where its syntax is wrong.
    """
    tag, space, rest = data.partition(b" ")
    reader = Reader(rest, _WHAT)
    command: Command
    if tag in _BARE:
        if space:
            raise reader.fault("there is more than belongs there")
        return _BARE[tag]()
    if tag == New.TAG:
        command = New.read(reader, version)
    elif tag in _READ:
        command = _READ[tag](reader)
    else:
        raise UnknownCommand
    reader.end()
    return command
