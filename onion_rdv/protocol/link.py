"""The plaintext of an entry: a link in one of its encodings (docs/protocol.md, "Links")."""

from __future__ import annotations

import unicodedata
from typing import Final

from onion_rdv.errors import LinkTooLong, MalformedEntry, MalformedLink
from onion_rdv.protocol.packed_link import pack, unpack
from onion_rdv.protocol.short_link import ShortLink

PLAINTEXT_SIZE: Final = 208
"""Bytes of every plaintext, whatever the link's length."""

MAX_BODY_SIZE: Final = PLAINTEXT_SIZE - 2
"""Bytes that an encoded link can have: 206."""

_KIND_UTF8: Final = 0
_KIND_PACKED: Final = 1


def encode_link(link: str) -> bytes:
    """Give the 208-byte plaintext: kind, length, body, zero bytes.

    A link that is too long as text, but is a SimpleX short link, is packed; its canonical form comes out at the other
    end. Raises :class:`~onion_rdv.errors.LinkTooLong` with the measured and the allowed size,
    :class:`~onion_rdv.errors.MalformedLink` for an empty link or one with control characters.
    """
    fault = _fault(link)
    if fault:
        raise MalformedLink(fault)
    kind, body = _KIND_UTF8, link.encode()
    if len(body) > MAX_BODY_SIZE:
        kind, body = _KIND_PACKED, _pack(link, len(body))
    return (bytes([kind, len(body)]) + body).ljust(PLAINTEXT_SIZE, b"\0")


def decode_link(plaintext: bytes) -> str:
    """Give the link in a 208-byte plaintext; raises :class:`~onion_rdv.errors.MalformedEntry` for any flaw."""
    if len(plaintext) != PLAINTEXT_SIZE:
        raise MalformedEntry(f"its plaintext has {len(plaintext)} bytes, not {PLAINTEXT_SIZE}")
    kind, length = plaintext[0], plaintext[1]
    if kind not in {_KIND_UTF8, _KIND_PACKED}:
        raise MalformedEntry(
            f"its link is of kind {kind}, which this version does not know",
            hint="the sender's version is newer: update onion-rdv",
        )
    if not 0 < length <= MAX_BODY_SIZE:
        raise MalformedEntry(f"it says that its link has {length} bytes")
    body, padding = plaintext[2 : 2 + length], plaintext[2 + length :]
    if any(padding):
        raise MalformedEntry("its padding is not zero")
    return unpack(body).write() if kind == _KIND_PACKED else _decode_utf8(body)


def _pack(link: str, size: int) -> bytes:
    """Pack a link that has too many bytes as text."""
    too_long = f"it has {size} bytes, and {MAX_BODY_SIZE} is the most that fits"
    try:
        body = pack(ShortLink.parse(link))
    except MalformedLink:
        raise LinkTooLong(too_long) from None
    if len(body) > MAX_BODY_SIZE:
        raise LinkTooLong(f"{too_long}; packed it has {len(body)}", hint="a link that names fewer hosts would fit")
    return body


def _decode_utf8(body: bytes) -> str:
    try:
        link = body.decode()
    except UnicodeDecodeError:
        raise MalformedEntry("its link is not UTF-8") from None
    fault = _fault(link)
    if fault:
        raise MalformedEntry(fault)
    return link


def _fault(link: str) -> str | None:
    if not link:
        return "it is empty"
    # What can be printed has no character of these categories, and is found out at once.
    if not link.isprintable() and any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in link):
        return "there are control characters in it"
    return None
