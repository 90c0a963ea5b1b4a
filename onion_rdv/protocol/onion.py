"""Version 3 onion addresses (tor's rend-spec-v3, section 6 "Encoding onion addresses")."""

from __future__ import annotations

import hashlib

from onion_rdv.errors import MalformedOnionAddress
from onion_rdv.protocol import base32

ONION_KEY_SIZE = 32
"""Bytes of the ed25519 public key that an onion address spells out."""

DEFAULT_PORT = 80

_SUFFIX = ".onion"
_VERSION = b"\x03"


def check_onion_key(onion_key: bytes) -> None:
    """Raise :class:`ValueError` for an onion key that is not 32 bytes long."""
    if len(onion_key) != ONION_KEY_SIZE:
        raise ValueError(f"an onion key has {ONION_KEY_SIZE} bytes, not {len(onion_key)}")


def encode_onion_address(onion_key: bytes) -> str:
    """Give the address, 62 characters with ``.onion``, of a service with this 32-byte public key.

    Raises :class:`ValueError` for a key of another length.
    """
    check_onion_key(onion_key)
    return base32.encode(onion_key + _checksum(onion_key) + _VERSION) + _SUFFIX


def decode_onion_address(address: str) -> bytes:
    """Give the 32-byte public key in an address, which may be in upper case.

    Raises :class:`~onion_rdv.errors.MalformedOnionAddress` for anything but a whole v3 address. That the key is
    a point on the curve is left to tor to check.
    """
    encoded, suffix = address[: -len(_SUFFIX)], address[-len(_SUFFIX) :]
    if suffix.lower() != _SUFFIX:
        raise MalformedOnionAddress("it does not end in .onion")
    try:
        value = base32.decode(encoded)  # as it is: some letters that are not ASCII would turn into such that are
    except ValueError as error:
        raise MalformedOnionAddress(f"before .onion: {error}") from None
    onion_key, checksum, version = value[:32], value[32:34], value[34:]
    if version != _VERSION:
        raise MalformedOnionAddress(f"its version is {version[0]}, not 3")
    if checksum != _checksum(onion_key):
        raise MalformedOnionAddress("its checksum does not fit: there is a typing error in it")
    return onion_key


def _checksum(onion_key: bytes) -> bytes:
    return hashlib.sha3_256(b".onion checksum" + onion_key + _VERSION).digest()[:2]


def authority(address: str, port: int) -> str:
    """Name a port of an onion service, as URIs and HTTP do: the usual port is left out."""
    return address if port == DEFAULT_PORT else f"{address}:{port}"
