"""Client authorization of onion services: the x25519 keys that both ends hold, as tor writes them.

A service is told public keys, a client its secret one (rend-spec, "Client authorization"; tor's manual, "Client
authorization")::

    descriptor:x25519:PUBLIC                      52 characters of base32; the service's side
    ADDRESS:descriptor:x25519:SECRET              the client's side, ADDRESS without .onion

No public key at all lets in everybody.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection

PUBLIC_PREFIX = "descriptor:x25519:"
"""What tor writes before a key; before a public one it stands alone."""

_KEY_BYTES = 32


def public_key(text: str) -> str:
    """Give a client's public key as 52 characters of base32, from those or from ``descriptor:x25519:...``.

    Raises :class:`~onion_rdv.errors.SettingsError`.
    """
    key = text.strip().removeprefix(PUBLIC_PREFIX).upper()
    if _decode(key) is None:
        raise SettingsError(
            "an authorized client is not an x25519 public key",
            hint="give its 52 base32 characters, or the whole descriptor:x25519:... line that its owner sent",
        )
    return key


def public_keys(texts: Collection[str]) -> tuple[str, ...]:
    """Do what :func:`public_key` does with each, in their order, each key once."""
    return tuple(dict.fromkeys(public_key(text) for text in texts))


def narrows(old: Collection[str], new: Collection[str]) -> bool:
    """Tell whether somebody whom ``old`` lets in is not let in by ``new``."""
    return bool(new) and (not old or not set(old) <= set(new))


def _decode(key: str) -> bytes | None:
    try:
        decoded = base64.b32decode(key + "=" * (-len(key) % 8))
    except binascii.Error:
        return None
    return decoded if len(decoded) == _KEY_BYTES and "=" not in key else None
