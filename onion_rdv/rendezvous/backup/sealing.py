"""A file that only a passphrase opens, and that shows when it was changed or cut short (docs/backup.md)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, BinaryIO

from nacl import bindings
from nacl.exceptions import CryptoError

from onion_rdv.errors import BackupStaysShut, BackupUnusable
from onion_rdv.protocol import SALT_SIZE, normalise_passphrase
from onion_rdv.protocol.keys import stretch

if TYPE_CHECKING:
    from collections.abc import Iterator

_TITLE = b"onion-rdv backup "
_VERSION = b"1"
_COMMITMENT_SIZE = 32
_STREAM_HEADER_SIZE = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_OVERHEAD = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
_MESSAGE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL

PIECE_SIZE = 65_536
"""Bytes that are sealed together; the last piece of a file has fewer, or as many."""


class SealedWriter:
    """Seals what is written, piece by piece, into a file."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        """Begin the file; some hundred milliseconds, for one Argon2id.

        Raises :class:`~onion_rdv.errors.MalformedPassphrase`.
        """
        salt = secrets.token_bytes(SALT_SIZE)
        key, commitment = _derive(passphrase, salt)
        self._state = bindings.crypto_secretstream_xchacha20poly1305_state()
        header = bindings.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        self._file = file
        self._waiting = bytearray()
        file.write(_TITLE + _VERSION + b"\n" + salt + commitment + header)

    def write(self, data: bytes) -> None:
        """Add to the content."""
        self._waiting += data
        while len(self._waiting) > PIECE_SIZE:  # the last piece has to be known as the last
            self._seal(bytes(self._waiting[:PIECE_SIZE]), _MESSAGE)
            del self._waiting[:PIECE_SIZE]

    def finish(self) -> None:
        """Write what is left, and mark the end."""
        self._seal(bytes(self._waiting), _FINAL)

    def _seal(self, piece: bytes, tag: int) -> None:
        self._file.write(bindings.crypto_secretstream_xchacha20poly1305_push(self._state, piece, tag=tag))


def opened(file: BinaryIO, passphrase: str) -> Iterator[bytes]:
    """Give the content of a sealed file, each piece as soon as it has been found genuine.

    Whoever needs the whole must not act before the last piece has come. Raises
    :class:`~onion_rdv.errors.BackupStaysShut` for a wrong passphrase, and
    :class:`~onion_rdv.errors.BackupUnusable` where the file is none of ours, a newer one, changed or cut short.
    """
    _check_title(file)
    head = file.read(SALT_SIZE + _COMMITMENT_SIZE + _STREAM_HEADER_SIZE)
    if len(head) < SALT_SIZE + _COMMITMENT_SIZE + _STREAM_HEADER_SIZE:
        raise _cut_short()
    key, commitment = _derive(passphrase, head[:SALT_SIZE])
    if not hmac.compare_digest(commitment, head[SALT_SIZE:-_STREAM_HEADER_SIZE]):
        raise BackupStaysShut
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, head[-_STREAM_HEADER_SIZE:], key)
    sealed = file.read(PIECE_SIZE + _OVERHEAD)
    is_last = False
    while not is_last:
        following = file.read(PIECE_SIZE + _OVERHEAD)
        piece, is_last = _open(state, sealed)
        if not is_last and not following:
            raise _cut_short()
        if is_last and following:
            raise BackupUnusable("something stands after its end")
        yield piece
        sealed = following


def _open(state: bindings.crypto_secretstream_xchacha20poly1305_state, sealed: bytes) -> tuple[bytes, bool]:
    if len(sealed) < _OVERHEAD:
        raise _cut_short()
    try:
        piece, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, sealed)
    except (CryptoError, RuntimeError):
        raise BackupUnusable("it is damaged, or cut short") from None
    return piece, tag == _FINAL


def _check_title(file: BinaryIO) -> None:
    title = file.readline(len(_TITLE) + 16)
    if not title.startswith(_TITLE):
        raise BackupUnusable("this is no backup of onion-rdv", hint="name a file that onion-rdv backup has written")
    version = title.removeprefix(_TITLE).rstrip(b"\n")
    if version != _VERSION:
        raise BackupUnusable(
            f"it has format {version.decode('latin-1')}, and this onion-rdv knows format {_VERSION.decode()}",
            hint="restore it with the newer onion-rdv that wrote it",
        )


def _cut_short() -> BackupUnusable:
    return BackupUnusable("it is cut short")


def _derive(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """Give the key, and what says that it is the right one (the cipher alone would open under several keys)."""
    master = stretch(normalise_passphrase(passphrase), salt)

    def expand(purpose: bytes, size: int) -> bytes:
        return hashlib.blake2b(digest_size=size, key=master, person=purpose).digest()

    return expand(b"rdv backup key", 32), expand(b"rdv backup check", _COMMITMENT_SIZE)
