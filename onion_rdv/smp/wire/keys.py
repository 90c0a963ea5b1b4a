"""Public keys as SMP writes them (DER, RFC 8410), and the private keys that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from onion_rdv.errors import MalformedBlock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey

SIGNATURE_SIZE = 64
"""Bytes of an Ed25519 signature."""

_PublicKey = Ed25519PublicKey | X25519PublicKey | X448PublicKey
_PrivateKey = Ed25519PrivateKey | X25519PrivateKey | X448PrivateKey


class Kind(Enum):
    """What a key is for, and its size in bytes, public and private alike."""

    ED25519 = "Ed25519", 32, Ed25519PublicKey, Ed25519PrivateKey
    X25519 = "X25519", 32, X25519PublicKey, X25519PrivateKey
    X448 = "X448", 56, X448PublicKey, X448PrivateKey

    def __init__(self, title: str, size: int, public: type[_PublicKey], private: type[_PrivateKey]) -> None:
        self.title = title
        self.size = size
        self.public_class = public
        self.private_class = private


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; two are equal when their kinds and bytes are."""

    kind: Kind
    raw: bytes

    def encode(self) -> bytes:
        """Give the DER of its SubjectPublicKeyInfo: 44 bytes, or 68 for X448."""
        key = self.kind.public_class.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def decode(cls, der: bytes, what: str, *kinds: Kind) -> Self:
        """Read DER; raises :class:`~onion_rdv.errors.MalformedBlock` for anything but a key of one of these kinds."""
        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm):
            raise MalformedBlock(f"{what}: a key in it cannot be read") from None
        kind = next((kind for kind in kinds or Kind if isinstance(key, kind.public_class)), None)
        if kind is None or not isinstance(key, Ed25519PublicKey | X25519PublicKey | X448PublicKey):
            raise MalformedBlock(f"{what}: a key in it is of a kind that does not belong there")
        found = cls(kind, key.public_bytes_raw())
        if found.encode() != der:
            raise MalformedBlock(f"{what}: a key in it is written in an unusual way")
        return found

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
