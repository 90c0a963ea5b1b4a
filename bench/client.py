"""What a person's program does itself, beside what it cannot do without.

``accept``: everything but the network, from the text of the invite to the messaging server's name, beside its one
Argon2id call. Trial decryption: finding the one entry of a bucket that opens, beside 64 openings of what is sealed in
an entry.
"""

from __future__ import annotations

import secrets
import statistics
import time
from typing import TYPE_CHECKING

from argon2.low_level import Type, hash_secret_raw
from harness import in_turn, ratios
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]  # what its functions are made of
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError
from rows import Measured, Row, end

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
    seal,
)
from onion_rdv.protocol.bucket import entries
from onion_rdv.protocol.entry import seal_with
from onion_rdv.protocol.exchange import FETCH_PADDING_SIZE, bucket_reply, fetch_body, read_bucket
from onion_rdv.protocol.keys import COMMITMENT_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY, _SALT = bytes(range(32)), bytes(16)
_PASSPHRASE = "correct horse battery staple"
_LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.example.org"
_PLACE = 40


def _bucket_with(entry: bytes) -> bytes:
    filler = secrets.token_bytes(BUCKET_SIZE - ENTRY_SIZE)
    return filler[: _PLACE * ENTRY_SIZE] + entry + filler[_PLACE * ENTRY_SIZE :]


def _seconds(work: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """Measure work in seconds of processor time: none of it waits, and what else the machine does matters less."""

    def measured() -> float:
        started = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - started) / times

    return measured


def accept(rounds: int = 80) -> Measured:
    """Measure ``accept`` without the network."""
    reply = bucket_reply(_bucket_with(seal(_LINK, _PASSPHRASE, _SALT, _KEY)))
    body = reply.partition(b"\r\n\r\n")[2]
    text = str(Invite(_KEY, 80, bytes(16), _SALT))
    keys = derive_keys(_PASSPHRASE, _SALT, _KEY)

    def before() -> Invite:
        invite = Invite.parse(text)
        str(RendezvousServer(invite.onion_key, invite.port))
        fetch_body(invite.bucket_link, secrets.token_bytes(FETCH_PADDING_SIZE))
        return invite

    def after(keys: EntryKeys) -> None:
        link = open_bucket_with(read_bucket(200, "application/octet-stream", body), keys)
        assert messaging_server(link) is not None

    def whole() -> None:
        invite = before()
        after(derive_keys(normalise_passphrase(_PASSPHRASE), invite.salt, invite.onion_key))

    def rest() -> None:
        before()
        after(keys)

    def argon2id() -> None:
        hash_secret_raw(_PASSPHRASE.encode(), _SALT, 3, 65536, 4, 32, Type.ID)

    whole()
    argon2id()
    contenders = {"whole": _seconds(whole), "argon2id": _seconds(argon2id), "rest": _seconds(rest, 20)}
    measured = in_turn(contenders, rounds)
    part = statistics.median(ratios(measured["rest"], measured["argon2id"]))
    told = f"what accept computes beside its one Argon2id call takes {part:.4f} of that call's time"
    return Measured(
        [
            Row(
                "accept without the network / its one Argon2id call",
                ratios(measured["whole"], measured["argon2id"]),
                1.02,
                "low",
            )
        ],
        [told],
    )


def opening(rounds: int = 60, times: int = 20) -> Measured:
    """Measure trial decryption: of a bucket with our entry in it, and of one that is full of forgeries of it."""
    keys = EntryKeys(secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_bytes(24))
    own = seal_with(encode_link(_LINK), keys)
    bucket = _bucket_with(own)
    sealed = [entry[COMMITMENT_SIZE:] for entry in entries(bucket)]
    marked = keys.commitment.join([b"", *(secrets.token_bytes(len(one)) for one in sealed[1:])]) + own

    def by_function() -> None:
        for one in sealed:
            try:
                crypto_aead_xchacha20poly1305_ietf_decrypt(one, None, keys.nonce, keys.key)
            except CryptoError:
                continue

    def by_library() -> None:
        size = len(sealed[0])
        message, length = ffi.new("unsigned char[]", size), ffi.new("unsigned long long *")
        for one in sealed:
            lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
                message, length, ffi.NULL, one, size, ffi.NULL, 0, keys.nonce, keys.key
            )

    def ours(which: bytes) -> None:
        assert open_bucket_with(which, keys) == _LINK

    contenders = {
        "ours": _seconds(lambda: ours(bucket), times),
        "ours, forged": _seconds(lambda: ours(marked), times),
        "by function": _seconds(by_function, times),
        "by library": _seconds(by_library, times),
    }
    measured = in_turn(contenders, rounds)
    name = "trial decryption of a bucket / 64 libsodium openings"
    rows = [
        Row(f"{name}: by PyNaCl's function", ratios(measured["ours"], measured["by function"]), 1, "low"),
        Row(f"{name}: by the C library in PyNaCl", ratios(measured["ours"], measured["by library"]), 1, "low"),
    ]
    forged = statistics.median(ratios(measured["ours, forged"], measured["by function"]))
    told = f"a bucket in which all other entries forge ours takes {forged:.2f} of 64 openings by PyNaCl's function"
    return Measured(rows, [told])


def measure() -> Measured:
    """Measure everything here, in some twenty seconds."""
    parts = accept(), opening()
    return Measured([row for part in parts for row in part.rows], [line for part in parts for line in part.told])


if __name__ == "__main__":
    end(measure())
