"""Base32 as onion addresses and invite tokens use it: 35 bytes in 56 lower-case characters, no padding."""

from __future__ import annotations

import base64

SIZE = 35
"""Bytes in an encoded value; a multiple of 5, so there is neither padding nor a spare bit (RFC 4648, section 6)."""

CHARACTERS = 56
"""Characters of an encoded value."""


def encode(value: bytes) -> str:
    """Encode 35 bytes as 56 lower-case characters."""
    return base64.b32encode(value).decode("ascii").lower()


def decode(text: str) -> bytes:
    """Decode 56 characters, upper or lower case, to 35 bytes.

    Raises :class:`ValueError` for any other length or alphabet.
    """
    if len(text) != CHARACTERS:
        raise ValueError(f"{len(text)} characters instead of {CHARACTERS}")
    try:
        value = base64.b32decode(text, casefold=True)
    except ValueError:
        value = b""
    if len(value) != SIZE:  # it is shorter where "=" fills up the end
        raise ValueError("only the letters a to z and the digits 2 to 7 can stand in it")
    return value
