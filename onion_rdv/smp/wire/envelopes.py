"""How a message is wrapped: by its sender for the recipient's eyes, and by the server around that.

See docs/smp.md, "Messages". The sender's envelope hides the message from the server. The server's box hides what
the queue's two connections have in common from whoever might look into TLS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.crypto import NONCE_SIZE, TAG_SIZE, agreed_box_key, seal_padded, unseal_padded
from onion_rdv.smp.wire.encoding import Reader, boolean, maybe, short
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey

ENVELOPE_VERSION: Final = 4
"""The version of the sender's envelope (SMP's "client version")."""

MAX_MESSAGE_SIZE: Final = 15_904 - 2 - 1
"""Bytes of a message in an envelope: 15,901."""

_LEAST_ENVELOPE_VERSION: Final = 1
_PADDED_MESSAGE: Final = 15_904
_PADDED_DELIVERY: Final = 16_106

DELIVERY_SIZE: Final = _PADDED_DELIVERY + TAG_SIZE
"""Bytes of the server's box: 16,122."""

_QUOTA: Final = b"QUOTA "
_CONFIRMATION, _PLAIN = b"K", b"_"
_DELIVERY: Final = "a message"
_ENVELOPE: Final = "a message's envelope"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a server delivers: when it got the message (Unix seconds), and what the sender sent.

    ``body`` is None in the mark that follows the last message of a queue that had been full.
    """

    sent_at: int
    body: bytes | None = field(repr=False)
    notify: bool = False

    def seal(self, key: bytes, message_id: bytes) -> bytes:
        """Put it into the server's box; ``key`` is agreed between the queue's two X25519 keys."""
        time = self.sent_at.to_bytes(8, "big", signed=True)
        if self.body is None:
            return seal_padded(key, message_id, _QUOTA + time, _PADDED_DELIVERY)
        return seal_padded(key, message_id, b"".join((time, boolean(self.notify), b" ", self.body)), _PADDED_DELIVERY)

    @classmethod
    def open(cls, key: bytes, message_id: bytes, box: bytes) -> Delivery:
        """Take it out of the server's box; raises :class:`~onion_rdv.errors.MalformedBlock`."""
        data = unseal_padded(key, _nonce(message_id), box, _DELIVERY)
        if data.startswith(_QUOTA):
            reader = Reader(data[len(_QUOTA) :], _DELIVERY)
            mark = cls(reader.i64(), None)
            reader.end()
            return mark
        reader = Reader(data, _DELIVERY)
        sent_at, notify = reader.i64(), reader.boolean()
        _, space, body = reader.rest().partition(b" ")  # before the space: flags that a later version may know
        if not space:
            raise reader.fault("it is cut short")
        return cls(sent_at, body, notify)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message, as its sender wrapped it.

    ``confirmation`` is the key for the queue that a sender hands over with the first message where they cannot secure
    the queue themselves; None in all others.
    """

    message: bytes = field(repr=False)
    confirmation: PublicKey | None = None

    def seal(self, sender: PrivateKey, recipient: PublicKey, nonce: bytes) -> bytes:
        """Wrap it for ``recipient``, the X25519 key in the queue's address.

        ``sender`` is an X25519 key too, and ``nonce`` 24 fresh bytes. Raises :class:`ValueError` for a message of
        more than 15,901 bytes (45 less with a confirmation).
        """
        key = agreed_box_key(sender.raw, recipient.raw, "a queue's address")
        header = _PLAIN if self.confirmation is None else _CONFIRMATION + short(self.confirmation.encode())
        box = seal_padded(key, nonce, header + self.message, _PADDED_MESSAGE)
        public = ENVELOPE_VERSION.to_bytes(2, "big") + maybe(short(sender.public.encode()))
        return public + nonce + box

    @classmethod
    def open(cls, body: bytes, recipient: PrivateKey, sender: PublicKey | None = None) -> tuple[Envelope, PublicKey]:
        """Unwrap a message; gives also the sender's key.

        ``sender`` is the key of earlier messages, with which an envelope that names none is opened. Raises
        :class:`~onion_rdv.errors.MalformedBlock`.
        """
        reader = Reader(body, _ENVELOPE)
        version = reader.u16()
        if not _LEAST_ENVELOPE_VERSION <= version <= ENVELOPE_VERSION:
            raise reader.fault(f"its version is {version}")
        named = reader.maybe(lambda: PublicKey.decode(reader.short(), _ENVELOPE, Kind.X25519))
        key = named or sender
        if key is None:
            raise reader.fault("it names no sender's key")
        nonce = reader.take(NONCE_SIZE)
        box_key = agreed_box_key(recipient.raw, key.raw, _ENVELOPE)
        inner = Reader(unseal_padded(box_key, nonce, reader.rest(), _ENVELOPE), _ENVELOPE)
        header = inner.take(1)
        if header == _PLAIN:
            return cls(inner.rest()), key
        if header != _CONFIRMATION:
            raise inner.fault("it begins in a way that is not known")
        confirmation = PublicKey.decode(inner.short(), _ENVELOPE, Kind.ED25519, Kind.X25519)
        return cls(inner.rest(), confirmation), key


def _nonce(message_id: bytes) -> bytes:
    if len(message_id) != NONCE_SIZE:
        raise MalformedBlock(f"{_DELIVERY}: its id has {len(message_id)} bytes")
    return message_id
