"""The plaintext of an entry: a link in one of its encodings (docs/protocol.md, "Links")."""

from __future__ import annotations

import unicodedata

from onion_rdv.errors import LinkTooLong, MalformedEntry, MalformedLink

PLAINTEXT_SIZE = 208
"""Bytes of every plaintext, whatever the link's length."""

MAX_BODY_SIZE = PLAINTEXT_SIZE - 2
"""Bytes that an encoded link can have: 206."""

_KIND_UTF8 = 0


def encode_link(link: str) -> bytes:
    """Give the 208-byte plaintext: kind, length, body, zero bytes.

    Raises :class:`~onion_rdv.errors.LinkTooLong` with the measured and the allowed size,
    :class:`~onion_rdv.errors.MalformedLink` for an empty link or one with control characters.
    """
    fault = _fault(link)
    if fault:
        raise MalformedLink(fault)
    body = link.encode()
    if len(body) > MAX_BODY_SIZE:
        raise LinkTooLong(f"it has {len(body)} bytes, and {MAX_BODY_SIZE} is the most that fits")
    return (bytes([_KIND_UTF8, len(body)]) + body).ljust(PLAINTEXT_SIZE, b"\0")


def decode_link(plaintext: bytes) -> str:
    """Give the link in a 208-byte plaintext; raises :class:`~onion_rdv.errors.MalformedEntry` for any flaw."""
    if len(plaintext) != PLAINTEXT_SIZE:
        raise MalformedEntry(f"its plaintext has {len(plaintext)} bytes, not {PLAINTEXT_SIZE}")
    kind, length = plaintext[0], plaintext[1]
    if kind != _KIND_UTF8:
        raise MalformedEntry(
            f"its link is of kind {kind}, which this version does not know",
            hint="the sender's version is newer: update onion-rdv",
        )
    if not 0 < length <= MAX_BODY_SIZE:
        raise MalformedEntry(f"it says that its link has {length} bytes")
    if any(plaintext[2 + length :]):
        raise MalformedEntry("its padding is not zero")
    try:
        link = plaintext[2 : 2 + length].decode()
    except UnicodeDecodeError:
        raise MalformedEntry("its link is not UTF-8") from None
    fault = _fault(link)
    if fault:
        raise MalformedEntry(fault)
    return link


def _fault(link: str) -> str | None:
    if not link:
        return "it is empty"
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in link):
        return "there are control characters in it"
    return None
