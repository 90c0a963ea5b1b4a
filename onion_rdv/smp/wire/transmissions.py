"""Transmissions: what a block carries, and how a command is authorized (docs/smp.md, "Transmissions")."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, Self

from onion_rdv.smp.wire.blocks import MAX_BLOCK_DATA
from onion_rdv.smp.wire.crypto import TAG_SIZE, agreed_box_key, seal
from onion_rdv.smp.wire.encoding import Reader, maybe, short
from onion_rdv.smp.wire.keys import SIGNATURE_SIZE, Kind, PrivateKey, PublicKey
from onion_rdv.smp.wire.versions import SERVICE_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable

CORRELATION_ID_SIZE: Final = 24
ENTITY_ID_SIZE: Final = 24

AUTHENTICATOR_SIZE: Final = 64 + TAG_SIZE
"""Bytes of an authorization with X25519: a SHA-512 in a box."""

_MOST_IN_A_BLOCK: Final = 255
_WHAT: Final = "a transmission"


@dataclass(frozen=True, slots=True)
class Transmission:
    """A command or a reply on its way.

    ``correlation_id`` is 24 bytes, or none in what a server sends by itself; ``entity_id`` names a queue or a link,
    and is empty where the command names none; ``authorization`` is a signature (64 bytes), an authenticator (80), or
    empty.
    """

    correlation_id: bytes
    entity_id: bytes
    command: bytes = field(repr=False)
    authorization: bytes = field(default=b"", repr=False)

    def covered(self, session_id: bytes) -> bytes:
        """Give the bytes that an authorization covers."""
        return short(session_id) + short(self.correlation_id) + short(self.entity_id) + self.command

    def encode(self, version: int) -> bytes:
        """Give its bytes."""
        has_field = version >= SERVICE_FIELD and self.authorization
        return b"".join(
            (
                short(self.authorization),
                maybe(None) if has_field else b"",  # no service signs as well
                short(self.correlation_id),
                short(self.entity_id),
                self.command,
            )
        )

    @classmethod
    def decode(cls, data: bytes, version: int) -> Self:
        """Read its bytes; raises :class:`~onion_rdv.errors.MalformedBlock`. The command is all that is left."""
        reader = Reader(data, _WHAT)
        authorization = reader.short(0, SIGNATURE_SIZE, AUTHENTICATOR_SIZE)
        if authorization and version >= SERVICE_FIELD:
            reader.expect(maybe(None))
        correlation_id = reader.short(0, CORRELATION_ID_SIZE)
        entity_id = reader.short(0, ENTITY_ID_SIZE)
        return cls(correlation_id, entity_id, reader.rest(), authorization)


def split(data: bytes) -> list[bytes]:
    """Take a block's data apart into its transmissions (at least one, each to be decoded by itself).

    Raises :class:`~onion_rdv.errors.MalformedBlock`.
    """
    reader = Reader(data, "a block")
    parts = reader.several(reader.large)
    if not parts:
        raise reader.fault("there is nothing in it")
    reader.end()
    return parts


def batches(transmissions: Iterable[bytes]) -> list[bytes]:
    """Put encoded transmissions together into as few blocks' data as they need, in their order.

    Raises :class:`ValueError` for one that fits into no block.
    """
    made: list[bytes] = []
    parts: list[bytes] = []
    size = 1
    for transmission in transmissions:
        more = 2 + len(transmission)
        if 1 + more > MAX_BLOCK_DATA:
            raise ValueError(f"a transmission of {len(transmission)} bytes fits into no block")
        if parts and (size + more > MAX_BLOCK_DATA or len(parts) == _MOST_IN_A_BLOCK):
            made.append(_block_data(parts))
            parts, size = [], 1
        parts.append(transmission)
        size += more
    return [*made, _block_data(parts)] if parts else made


def _block_data(parts: list[bytes]) -> bytes:
    pieces = [len(parts).to_bytes(1, "big")]
    for part in parts:
        pieces += (len(part).to_bytes(2, "big"), part)
    return b"".join(pieces)


class Authorizer(Protocol):
    """Authorizes a client's commands with the key that the server knows for the queue."""

    def __call__(self, transmission: Transmission, session_id: bytes) -> Transmission:
        """Give the transmission with its authorization."""


class Signer:
    """Authorizes with an Ed25519 signature."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def __call__(self, transmission: Transmission, session_id: bytes) -> Transmission:
        """Give the transmission with its signature."""
        return replace(transmission, authorization=self._key.sign(transmission.covered(session_id)))


class Authenticator:
    """Authorizes with an X25519 key: only the server can check it, and nobody could show it to others."""

    def __init__(self, key: PrivateKey, server_key: PublicKey) -> None:
        """Prepare to authorize with ``key`` in the session for which ``server_key`` was in the server's hello."""
        self._box_key = agreed_box_key(key.raw, server_key.raw, "the server's hello")

    def __call__(self, transmission: Transmission, session_id: bytes) -> Transmission:
        """Give the transmission with its authenticator."""
        return replace(transmission, authorization=_authenticator(self._box_key, transmission, session_id))


def authorizer(key: PrivateKey, server_key: PublicKey) -> Authorizer:
    """Give what authorizes with this key, Ed25519 or X25519; raises as :class:`Authenticator` does."""
    return Signer(key) if key.kind is Kind.ED25519 else Authenticator(key, server_key)


def is_signed(transmission: Transmission, session_id: bytes, key: PublicKey) -> bool:
    """Check an authorization with Ed25519."""
    given = transmission.authorization
    return len(given) == SIGNATURE_SIZE and key.has_signed(transmission.covered(session_id), given)


def is_authenticated(transmission: Transmission, session_id: bytes, box_key: bytes) -> bool:
    """Check an authorization with X25519; ``box_key`` is agreed between the queue's key and the session's."""
    given = transmission.authorization
    if len(given) != AUTHENTICATOR_SIZE or len(transmission.correlation_id) != CORRELATION_ID_SIZE:
        return False
    return hmac.compare_digest(given, _authenticator(box_key, transmission, session_id))


def _authenticator(box_key: bytes, transmission: Transmission, session_id: bytes) -> bytes:
    digest = hashlib.sha512(transmission.covered(session_id)).digest()
    return seal(box_key, transmission.correlation_id, digest)
