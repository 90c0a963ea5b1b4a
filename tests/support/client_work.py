"""What a person's program computes, in pieces that can be measured, and what they are measured beside.

Run by itself it does what it is told on standard input, a piece and how often in each line, and answers each with a
line.
"""

from __future__ import annotations

import secrets
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from argon2.low_level import Type, hash_secret_raw
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]  # what its functions are made of
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError

from onion_rdv.client.messaging import messaging_server
from onion_rdv.client.server import RendezvousServer
from onion_rdv.protocol import (
    BUCKET_SIZE,
    ENTRY_SIZE,
    EntryKeys,
    Invite,
    derive_keys,
    encode_link,
    normalise_passphrase,
    open_bucket_with,
)
from onion_rdv.protocol.bucket import entries
from onion_rdv.protocol.entry import seal_with
from onion_rdv.protocol.exchange import BUCKET_TYPE, FETCH_PADDING_SIZE, bucket_reply, fetch_body, read_bucket
from onion_rdv.protocol.keys import COMMITMENT_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEY, _SALT = bytes(range(32)), bytes(16)
_PASSPHRASE = "correct horse battery staple"
_LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.example.org"
_PLACE = 40

MEMORY_KIB: Final = 65_536
"""Of the one Argon2id call, which works through all of it three times."""
SMALL_MEMORY_KIB: Final = MEMORY_KIB // 64
"""Of a small one."""


def argon2id(memory: int = MEMORY_KIB) -> None:
    """Make the one Argon2id call, or a smaller one."""
    hash_secret_raw(_PASSPHRASE.encode(), _SALT, 3, memory, 4, 32, Type.ID)


class Accepting:
    """``accept`` without the network: from the text of an invite to the messaging server's name."""

    def __init__(self) -> None:
        self._keys = derive_keys(_PASSPHRASE, _SALT, _KEY)
        bucket = bucket_with(seal_with(encode_link(_LINK), self._keys))
        self._body = bucket_reply(bucket).partition(b"\r\n\r\n")[2]
        self._text = str(Invite(_KEY, 80, bytes(16), _SALT))

    def whole(self) -> None:
        """Do all of it."""
        invite = self._before()
        self._after(derive_keys(normalise_passphrase(_PASSPHRASE), invite.salt, invite.onion_key))

    def rest(self) -> None:
        """Do all but the Argon2id call and what follows from it at once."""
        self._before()
        self._after(self._keys)

    def _before(self) -> Invite:
        invite = Invite.parse(self._text)
        str(RendezvousServer(invite.onion_key, invite.port))
        fetch_body(invite.bucket_link, secrets.token_bytes(FETCH_PADDING_SIZE))
        return invite

    def _after(self, keys: EntryKeys) -> None:
        link = open_bucket_with(read_bucket(200, BUCKET_TYPE, self._body), keys)
        assert messaging_server(link) is not None


class Opening:
    """Finding the entry of a bucket that opens, and 64 openings of what is sealed in its entries."""

    def __init__(self) -> None:
        self._keys = EntryKeys(secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_bytes(24))
        own = seal_with(encode_link(_LINK), self._keys)
        self._bucket = bucket_with(own)
        self._sealed = [entry[COMMITMENT_SIZE:] for entry in entries(self._bucket)]
        forged = (self._keys.commitment + secrets.token_bytes(len(one)) for one in self._sealed[1:])
        self._forged = own + b"".join(forged)

    def ours(self) -> None:
        """Find it as we do."""
        assert open_bucket_with(self._bucket, self._keys) == _LINK

    def ours_among_forgeries(self) -> None:
        """Find it where every other entry bears the commitment of ours."""
        assert open_bucket_with(self._forged, self._keys) == _LINK

    def by_function(self) -> None:
        """Open 64 with PyNaCl's function."""
        for one in self._sealed:
            try:
                crypto_aead_xchacha20poly1305_ietf_decrypt(one, None, self._keys.nonce, self._keys.key)
            except CryptoError:
                continue

    def by_library(self) -> None:
        """Open 64 with the function of libsodium that this calls, into a buffer that is there."""
        nonce, key, size = self._keys.nonce, self._keys.key, len(self._sealed[0])
        message, length = ffi.new("unsigned char[]", size), ffi.new("unsigned long long *")
        for one in self._sealed:
            lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
                message, length, ffi.NULL, one, size, ffi.NULL, 0, nonce, key
            )


def bucket_with(entry: bytes) -> bytes:
    """Give a bucket with an entry among random ones."""
    filler = secrets.token_bytes(BUCKET_SIZE - ENTRY_SIZE)
    return filler[: _PLACE * ENTRY_SIZE] + entry + filler[_PLACE * ENTRY_SIZE :]


def main() -> None:
    accepting, opening = Accepting(), Opening()
    pieces: Mapping[str, Callable[[], None]] = {
        "accept without Argon2id": accepting.rest,
        "a small Argon2id": partial(argon2id, SMALL_MEMORY_KIB),
        "trial decryption": opening.ours,
        "64 openings": opening.by_function,
        "64 openings in C": opening.by_library,
    }
    for piece in pieces.values():
        piece()
    _say("ready")
    for line in sys.stdin:
        times, _, name = line.strip().partition(" ")
        for _ in range(int(times)):
            pieces[name]()
        _say("done")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
