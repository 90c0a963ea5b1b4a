"""Client authorization of onion services: the x25519 keys that both ends hold, as tor writes them.

A service is told public keys, a client its secret one (rend-spec, "Client authorization"; tor's manual, "Client
authorization")::

    descriptor:x25519:PUBLIC                      52 characters of base32; the service's side
    ADDRESS:descriptor:x25519:SECRET              the client's side, ADDRESS without .onion

No public key at all lets in everybody.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from nacl.public import PrivateKey

from onion_rdv.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

PUBLIC_PREFIX = "descriptor:x25519:"
"""What tor writes before a key; before a public one it stands alone."""

MAX_CLIENTS = 256
"""A descriptor has 50,000 bytes: 330 clients fit in, 400 do not (tor 0.4.9.11); introduction points need room too."""

_KEY_BYTES = 32
_CREDENTIAL = re.compile(rf"(?P<service>[a-z2-7]{{56}})(?:\.onion)?:{PUBLIC_PREFIX}(?P<secret>[a-z2-7]{{52}})")


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


@dataclass(frozen=True, slots=True)
class Credential:
    """What lets a client in to one service: the service's 56 characters, and 32 secret bytes that do not show."""

    service: str
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, address: str) -> Self:
        """Make a new one for the service at ``address``, 56 characters and ``.onion``."""
        return cls(address.removesuffix(".onion"), bytes(PrivateKey.generate()))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the line ``ADDRESS:descriptor:x25519:SECRET``; that the address is one is not looked at.

        Raises :class:`~onion_rdv.errors.UsageError`, which does not show the line.
        """
        found = _CREDENTIAL.fullmatch(text.strip().lower()) if text.isascii() else None
        secret = None if found is None else _decode(found["secret"].upper())
        if found is None or secret is None:
            raise UsageError(
                "that is not the whole line for a client of a private server",
                hint="it looks like ADDRESS:descriptor:x25519:KEY, as onion-rdv authorize prints it",
            )
        return cls(found["service"], secret)

    @property
    def public_key(self) -> str:
        """What the service is told: 52 characters of base32."""
        return _encode(bytes(PrivateKey(self.secret).public_key))

    @property
    def line(self) -> str:
        """What the client keeps, and what tor reads in a file ``NAME.auth_private``; a secret."""
        return f"{self.service}:{PUBLIC_PREFIX}{_encode(self.secret)}"

    @property
    def blob(self) -> str:
        """The secret as ONION_CLIENT_AUTH_ADD takes it."""
        return f"x25519:{base64.b64encode(self.secret).decode()}"


def _encode(key: bytes) -> str:
    return base64.b32encode(key).decode().rstrip("=")


def _decode(key: str) -> bytes | None:
    try:
        decoded = base64.b32decode(key + "=" * (-len(key) % 8))
    except ValueError:  # also for what is not ASCII
        return None
    return decoded if len(decoded) == _KEY_BYTES and "=" not in key else None
