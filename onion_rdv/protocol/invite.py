"""Invites: what the initiator sends to the acceptor (docs/protocol.md, "Invites")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from onion_rdv.errors import MalformedInvite, MalformedOnionAddress, MalformedPassphrase
from onion_rdv.protocol import base32
from onion_rdv.protocol.bucket import BUCKET_LINK_SIZE
from onion_rdv.protocol.keys import SALT_SIZE
from onion_rdv.protocol.onion import (
    DEFAULT_PORT,
    ONION_KEY_SIZE,
    authority,
    decode_onion_address,
    encode_onion_address,
)
from onion_rdv.protocol.passphrase import normalise_passphrase

_VERSION = b"\x01"
_SHAPE = re.compile(
    r"""rdv://
        (?P<host> [^/:?\#@]+ )
        (?: : (?P<port> [1-9][0-9]{0,4} ) )?
        / (?P<token> [^/?\#]* )
        (?: \# (?P<passphrase> .* ) )?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII | re.DOTALL,
)
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Invite:
    """Where a link waits, and the salt of its entry; with the passphrase only in the one-channel form.

    ``onion_key`` has 32 bytes, ``bucket_link`` 16, ``salt`` 16. A passphrase is kept in its normalised spelling.
    Raises :class:`ValueError` for values of other sizes, :class:`~onion_rdv.errors.MalformedPassphrase` for a
    passphrase that is empty or has no settled spelling.
    """

    onion_key: bytes
    port: int
    bucket_link: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value, size in (
            ("an onion key", self.onion_key, ONION_KEY_SIZE),
            ("a bucket link", self.bucket_link, BUCKET_LINK_SIZE),
            ("a salt", self.salt, SALT_SIZE),
        ):
            if len(value) != size:
                raise ValueError(f"{name} has {size} bytes, not {len(value)}")
        if not 0 < self.port < 2**16:
            raise ValueError("a port is a number from 1 to 65535")
        if self.passphrase is not None:
            object.__setattr__(self, "passphrase", _spell(self.passphrase))

    @property
    def onion_address(self) -> str:
        """The rendezvous server's address, 62 characters with ``.onion``."""
        return encode_onion_address(self.onion_key)

    def __str__(self) -> str:
        values = self.bucket_link + self.salt
        token = base32.encode(values + _checksum(self.onion_key, values) + _VERSION)
        fragment = "" if self.passphrase is None else "#" + quote(self.passphrase.replace(" ", "-"), safe="")
        return f"rdv://{authority(self.onion_address, self.port)}/{token}{fragment}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an invite; its scheme, host and token may be in upper case.

        Raises :class:`~onion_rdv.errors.MalformedInvite` for anything but a whole, undamaged invite. The message
        never repeats what was given.
        """
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise MalformedInvite("it does not look like rdv://ADDRESS.onion/TOKEN")
        try:
            onion_key = decode_onion_address(shape["host"])
        except MalformedOnionAddress as error:
            raise MalformedInvite(f"the server's address is damaged ({error.detail})") from None
        try:
            token = base32.decode(shape["token"])
        except ValueError as error:
            raise MalformedInvite(f"the part after the server's address is damaged ({error})") from None
        values, checksum, version = token[:32], token[32:34], token[34:]
        if version != _VERSION:
            raise MalformedInvite(
                f"it is damaged, or made for version {version[0]} of the protocol; this is version {_VERSION[0]}"
            )
        if checksum != _checksum(onion_key, values):
            raise MalformedInvite("its checksum does not fit: there is a typing error in it")
        port = int(shape["port"] or DEFAULT_PORT)
        if port >= 2**16:
            raise MalformedInvite(f"{port} is no port number")
        passphrase = None if shape["passphrase"] is None else _decode_passphrase(shape["passphrase"])
        try:
            return cls(onion_key, port, values[:BUCKET_LINK_SIZE], values[BUCKET_LINK_SIZE:], passphrase)
        except MalformedPassphrase as error:
            raise MalformedInvite(f"its passphrase cannot be used ({error.detail})") from None


def _spell(passphrase: str) -> str:
    """Give the normalised spelling, which has to stay as it is when it is read out of the invite again.

    For a few rare stacks of accents it does not, because casefolding can leave letters that NFKC joins.
    """
    spelled = normalise_passphrase(passphrase).decode()
    if normalise_passphrase(spelled).decode() != spelled:
        raise MalformedPassphrase("the accents on one of its letters have no settled spelling")
    return spelled


def _decode_passphrase(fragment: str) -> str:
    if not _ENCODED.fullmatch(fragment):
        raise MalformedInvite("its passphrase has a stray % in it")
    try:
        return unquote_to_bytes(fragment).decode()
    except UnicodeError:  # on the way to bytes too: half a surrogate pair can stand in a str
        raise MalformedInvite("its passphrase is not UTF-8") from None


def _checksum(onion_key: bytes, values: bytes) -> bytes:
    return hashlib.sha3_256(b"rdv checksum" + onion_key + values + _VERSION).digest()[:2]
