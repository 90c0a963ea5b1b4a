"""base64url (RFC 4648, section 5) as links and addresses write it: without padding."""

from __future__ import annotations

import base64


def encode(value: bytes) -> str:
    """Write bytes, without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read what is known to be base64url of whole bytes, with or without its padding; spare bits are ignored."""
    bare = text.rstrip("=")
    return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
