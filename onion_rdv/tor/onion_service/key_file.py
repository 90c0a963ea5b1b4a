"""The onion service's identity key and the file that keeps it.

The file has mode 0600 and four lines of ASCII, each ended by a newline::

    onion-rdv onion service key 1
    ADDRESS.onion
    ED25519-V3:KEYBLOB
    CHECKSUM

``ED25519-V3:KEYBLOB`` is what ADD_ONION takes (control-spec): the base64 of 64 bytes, which are the SHA-512 of a
random 32-byte seed with the ed25519 scalar in its first half clamped (RFC 8032, section 5.1.5). The same 64 bytes
behind ``== ed25519v1-secret: type0 ==`` and three zero bytes are tor's own ``hs_ed25519_secret_key``. ``ADDRESS``
follows from the key (rend-spec, "Encoding onion addresses"). ``CHECKSUM`` is the first 8 bytes of the SHA-256 of the
lines before it, in hexadecimal: damage must not quietly become another address.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from nacl.exceptions import CryptoError

from onion_rdv.errors import KeyFileUnusable, StoreError
from onion_rdv.tor.onion_service import disk, private_file

if TYPE_CHECKING:
    from pathlib import Path

_TITLE = "onion-rdv onion service key 1"
_KIND = "ED25519-V3:"
_TORS_PREFIX = b"== ed25519v1-secret: type0 ==\0\0\0"
_SEED_BYTES = 32
_EXPANDED_BYTES = 64
_ADDRESS_VERSION = b"\x03"
_CHECKSUM_DIGITS = 16


@dataclass(frozen=True)
class ServiceKey:
    """An expanded ed25519 secret key; it does not show itself."""

    expanded: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls.from_seed(secrets.token_bytes(_SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Expand a 32-byte seed."""
        expanded = bytearray(hashlib.sha512(seed).digest())
        expanded[0] &= 0b1111_1000
        expanded[31] = expanded[31] & 0b0011_1111 | 0b0100_0000
        return cls(bytes(expanded))

    @property
    def address(self) -> str:
        """The onion address: 56 characters and ``.onion``."""
        public = crypto_scalarmult_ed25519_base_noclamp(self.expanded[:32])
        checksum = hashlib.sha3_256(b".onion checksum" + public + _ADDRESS_VERSION).digest()[:2]
        return base64.b32encode(public + checksum + _ADDRESS_VERSION).decode().lower() + ".onion"

    @property
    def blob(self) -> str:
        """The key as ADD_ONION takes it; a secret."""
        return _KIND + base64.b64encode(self.expanded).decode()

    def encode(self) -> str:
        """Write what stands in the file."""
        lines = f"{_TITLE}\n{self.address}\n{self.blob}\n"
        return f"{lines}{hashlib.sha256(lines.encode()).hexdigest()[:_CHECKSUM_DIGITS]}\n"

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """Read what stands in the file; None when it is anything else."""
        with suppress(ValueError, CryptoError):
            _title, _address, blob, _checksum, _rest = text.split("\n")
            expanded = base64.b64decode(blob.removeprefix(_KIND), validate=True)
            if len(expanded) == _EXPANDED_BYTES and _is_clamped(expanded):
                key = cls(expanded)
                return key if key.encode() == text else None
        return None

    @classmethod
    def from_tors_file(cls, content: bytes) -> Self | None:
        """Read what stands in tor's ``hs_ed25519_secret_key``; None when it is anything else."""
        expanded = content.removeprefix(_TORS_PREFIX)
        if len(content) - len(expanded) != len(_TORS_PREFIX) or len(expanded) != _EXPANDED_BYTES:
            return None
        return cls(expanded) if _is_clamped(expanded) else None


def _is_clamped(expanded: bytes) -> bool:
    return expanded[0] & 0b0000_0111 == 0 and expanded[31] & 0b1100_0000 == 0b0100_0000


def from_credential(content: bytes) -> ServiceKey:
    """Read what stands in such a file where somebody else keeps it; raises as :func:`load_or_create` does."""
    key = ServiceKey.decode(content.decode("latin-1"))
    if key is None:
        raise KeyFileUnusable("the credential is damaged or no key file")
    return key


def load_or_create(path: Path) -> ServiceKey:
    """Read the key, or make one and have it safely on the disk, file and directory, before this returns.

    An existing file is never written to. Raises :class:`~onion_rdv.errors.KeyFileUnusable` when it is damaged, no
    plain file, another user's or open to others, or when it cannot be read or made, and
    :class:`~onion_rdv.errors.StoreError` where that is because the disk is full or fails. Blocks.
    """
    try:
        try:
            return _load(path)
        except FileNotFoundError:
            return _create(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def load(path: Path) -> ServiceKey | None:
    """Read the key, None where there is no file; raises as :func:`load_or_create` does. Blocks."""
    try:
        return _load(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _load(path: Path) -> ServiceKey:
    key = ServiceKey.decode(private_file.load(path, KeyFileUnusable).decode("latin-1"))
    if key is None:
        raise KeyFileUnusable(f"{path} is damaged or no key file")
    return key


def _unreadable(path: Path, error: OSError) -> KeyFileUnusable | StoreError:
    said = f"{path}: {error.strerror}"
    return disk.fault(error, path) or KeyFileUnusable(said, hint="look at its directory's permissions")


def _create(path: Path) -> ServiceKey:
    key = ServiceKey.generate()
    try:
        private_file.create(path, key.encode().encode("ascii"))
    except FileExistsError:
        return _load(path)
    return key
