"""The boxes of SMP, and what their keys are derived with (docs/smp.md, "Boxes").

A box is XSalsa20-Poly1305, tag first, under HSalsa20 of a secret. Where the secret is an X25519 result this is NaCl's
``crypto_box``; where it is any other, the step from the secret to the box's key has to be made here.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_box_beforenm,
    crypto_scalarmult,
    crypto_secretbox_easy,
    crypto_secretbox_open_easy,
)
from nacl.exceptions import CryptoError

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.encoding import pad, unpad
from onion_rdv.smp.wire.hsalsa import hsalsa20

NONCE_SIZE = 24
KEY_SIZE = 32
TAG_SIZE = 16


def box_key(secret: bytes) -> bytes:
    """Give the 32-byte key of the box under a 32-byte secret that is no X25519 result."""
    return hsalsa20(secret)


def agreed_box_key(private: bytes, public: bytes, what: str) -> bytes:
    """Give the key of the box between two X25519 keys (32 bytes each).

    Raises :class:`~onion_rdv.errors.MalformedBlock` for a public key of low order, with which nothing is secret.
    """
    try:
        return crypto_box_beforenm(public, private)
    except CryptoError:
        raise _weak(what) from None


def agree(private: bytes, public: bytes, what: str) -> bytes:
    """Give the X25519 result itself, 32 bytes; raises as :func:`agreed_box_key` does."""
    try:
        return crypto_scalarmult(private, public)
    except (CryptoError, RuntimeError):  # which of them it is depends on PyNaCl's version
        raise _weak(what) from None


def _weak(what: str) -> MalformedBlock:
    return MalformedBlock(f"{what}: its key is of low order")


def seal(key: bytes, nonce: bytes, message: bytes) -> bytes:
    """Put a message into a box: 16 bytes longer."""
    return crypto_secretbox_easy(message, nonce, key)


def unseal(key: bytes, nonce: bytes, box: bytes, what: str) -> bytes:
    """Take a message out of a box; raises :class:`~onion_rdv.errors.MalformedBlock` for a box that does not open."""
    if len(box) < TAG_SIZE:
        raise MalformedBlock(f"{what}: it is cut short")
    try:
        return crypto_secretbox_open_easy(box, nonce, key)
    except CryptoError:
        raise MalformedBlock(f"{what}: it does not open") from None


def seal_padded(key: bytes, nonce: bytes, message: bytes, size: int) -> bytes:
    """Fill a message up to ``size`` bytes and put it into a box; :class:`ValueError` where it does not fit."""
    return seal(key, nonce, pad(message, size))


def unseal_padded(key: bytes, nonce: bytes, box: bytes, what: str) -> bytes:
    """Undo :func:`seal_padded`; raises :class:`~onion_rdv.errors.MalformedBlock`."""
    return unpad(unseal(key, nonce, box, what), what)


def hkdf(secret: bytes, info: bytes, size: int, *, salt: bytes = b"") -> bytes:
    """Derive ``size`` bytes from a secret (RFC 5869 with SHA-512)."""
    return HKDF(SHA512(), size, salt, info).derive(secret)
