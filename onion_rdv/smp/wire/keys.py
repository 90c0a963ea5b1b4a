"""Public keys as SMP writes them (DER, RFC 8410), and the private keys that belong to them.

DER leaves one way to write a key of each kind, and nothing in it but the key varies. So it is compared, not parsed:
no parser that knows a hundred other kinds ever sees what strangers send.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from onion_rdv.errors import MalformedBlock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey

SIGNATURE_SIZE = 64
"""Bytes of an Ed25519 signature."""

_HEAD_SIZE = 12

_PrivateKey = Ed25519PrivateKey | X25519PrivateKey | X448PrivateKey


class Kind(Enum):
    """What a key is for, and its size in bytes, public and private alike."""

    ED25519 = "Ed25519", 32, "302a300506032b6570032100", Ed25519PrivateKey
    X25519 = "X25519", 32, "302a300506032b656e032100", X25519PrivateKey
    X448 = "X448", 56, "3042300506032b656f033900", X448PrivateKey

    def __init__(self, title: str, size: int, head: str, private: type[_PrivateKey]) -> None:
        self.title = title
        self.size = size
        self.head = bytes.fromhex(head)  # what stands before the key in DER
        self.private_class = private


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; two are equal when their kinds and bytes are."""

    kind: Kind
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != self.kind.size:
            raise ValueError(f"a public key of {self.kind.title} has {self.kind.size} bytes, not {len(self.raw)}")

    def encode(self) -> bytes:
        """Give the DER of its SubjectPublicKeyInfo: 44 bytes, or 68 for X448."""
        return self.kind.head + self.raw

    @classmethod
    def decode(cls, der: bytes, what: str, *kinds: Kind) -> Self:
        """Read DER; raises :class:`~onion_rdv.errors.MalformedBlock` for anything but a key of one of these kinds."""
        head, raw = der[:_HEAD_SIZE], der[_HEAD_SIZE:]
        kind = next((kind for kind in Kind if (kind.head, kind.size) == (head, len(raw))), None)
        if kind is None:
            raise MalformedBlock(f"{what}: a key in it cannot be read")
        if kinds and kind not in kinds:
            raise MalformedBlock(f"{what}: a key in it is of a kind that does not belong there")
        return cls(kind, raw)

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Check an Ed25519 signature."""
        return verifies(Ed25519PublicKey.from_public_bytes(self.raw), data, signature)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key: as many random bytes as its kind is large."""

    kind: Kind
    raw: bytes = field(repr=False)
    public: PublicKey = field(init=False)

    def __post_init__(self) -> None:
        key = self.kind.private_class.from_private_bytes(self.raw)
        object.__setattr__(self, "public", PublicKey(self.kind, key.public_key().public_bytes_raw()))

    def sign(self, data: bytes) -> bytes:
        """Make an Ed25519 signature, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(data)


def verifies(key: Ed25519PublicKey | Ed448PublicKey, data: bytes, signature: bytes) -> bool:
    """Check a signature."""
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
