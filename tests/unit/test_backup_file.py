"""The file of a backup: what is sealed opens, and nothing that was changed, cut short or newer is taken for it."""

from __future__ import annotations

import hashlib
import io
import secrets

import pytest
from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_init_pull,
    crypto_secretstream_xchacha20poly1305_pull,
    crypto_secretstream_xchacha20poly1305_state,
)

from onion_rdv.errors import BackupStaysShut, BackupUnusable, MalformedPassphrase
from onion_rdv.rendezvous.backup.records import ClientsFile, Decoder, KeyFile, Owner, Record, encode
from onion_rdv.rendezvous.backup.sealing import PIECE_SIZE, SealedWriter, opened
from onion_rdv.rendezvous.kept import Marks

PASSPHRASE = "correct horse battery staple"
ADDRESS = "a" * 56 + ".onion"
LONG = bytes(range(256)) * 600

pytestmark = pytest.mark.usefixtures("_cheap_stretching")


def seal(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, passphrase)
    for start in range(0, len(content), 10_000):
        writer.write(content[start : start + 10_000])
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE])
def test_what_is_sealed_opens(size: int) -> None:
    content = secrets.token_bytes(size)
    sealed = seal(content)
    pieces = max(1, -(-size // PIECE_SIZE))
    assert len(sealed) == 19 + 16 + 32 + 24 + size + 17 * pieces
    assert b"".join(opened(io.BytesIO(sealed), PASSPHRASE.upper())) == content, "as passphrases are written"


def test_every_piece_is_as_documented() -> None:
    sealed = seal(b"content")
    assert sealed.startswith(b"onion-rdv backup 1\n")
    master = hashlib.sha256(sealed[19:35] + PASSPHRASE.encode()).digest()
    key, check = (
        hashlib.blake2b(digest_size=32, key=master, person=person).digest()
        for person in (b"rdv backup key", b"rdv backup check")
    )
    assert sealed[35:67] == check
    state = crypto_secretstream_xchacha20poly1305_state()
    crypto_secretstream_xchacha20poly1305_init_pull(state, sealed[67:91], key)
    assert crypto_secretstream_xchacha20poly1305_pull(state, sealed[91:]) == (b"content", 3)


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(BackupStaysShut):
        list(opened(io.BytesIO(seal(b"content")), "another"))
    with pytest.raises(MalformedPassphrase):
        SealedWriter(io.BytesIO(), " ")


@pytest.mark.parametrize("kept", [0, 5, 18, 19, 60, 91, 92, 91 + PIECE_SIZE + 17, 91 + PIECE_SIZE + 18, -1])
def test_one_that_is_cut_short(kept: int) -> None:
    with pytest.raises(BackupUnusable):
        list(opened(io.BytesIO(seal(LONG)[:kept]), PASSPHRASE))


@pytest.mark.parametrize("place", [0, 17, 30, 40, 70, 100, 91 + PIECE_SIZE, -1])
def test_one_that_was_changed(place: int) -> None:
    sealed = bytearray(seal(LONG))
    sealed[place] ^= 1
    with pytest.raises((BackupUnusable, BackupStaysShut)):
        list(opened(io.BytesIO(sealed), PASSPHRASE))


def test_pieces_in_another_order_or_twice_or_more_after_the_end() -> None:
    sealed, size = seal(LONG), PIECE_SIZE + 17
    head, first, second = sealed[:91], sealed[91 : 91 + size], sealed[91 + size : 91 + 2 * size]
    for wrong in (head + second + first, head + first + first + second, sealed + b"x", sealed + sealed[91:]):
        with pytest.raises(BackupUnusable):
            list(opened(io.BytesIO(wrong), PASSPHRASE))


def test_a_newer_one_is_refused_as_such() -> None:
    with pytest.raises(BackupUnusable, match="has format 2, and this onion-rdv knows format 1"):
        list(opened(io.BytesIO(b"onion-rdv backup 2\nanything"), PASSPHRASE))
    with pytest.raises(BackupUnusable, match="no backup"):
        list(opened(io.BytesIO(b"SQLite format 3\0"), PASSPHRASE))


# Records

MARKS = Marks(-1, 7, 1, 64, 2**63)


def decoded(*pieces: bytes) -> list[Record]:
    decoder = Decoder()
    records = [record for piece in pieces for record in decoder.feed(piece)]
    decoder.finish()
    return records


def test_records_come_out_as_they_went_in_whatever_the_pieces() -> None:
    records: list[Record] = [Owner(ADDRESS), KeyFile(b"key"), ClientsFile(b""), MARKS]
    data = b"".join(map(encode, records))
    for size in (1, 7, len(data)):
        assert decoded(*(data[start : start + size] for start in range(0, len(data), size))) == records


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (encode(MARKS)[:-1], "ends too early"),
        (encode(Owner("a")), "ends too early"),
        (encode(MARKS) + encode(Owner("a")), "makes no sense"),
        (b"\x01\xff\xff\xff\xff", "makes no sense"),
        (b"\x01\x00\x00\x00\x01\xff", "makes no sense"),
        (b"\x04\x00\x00\x00\x01x", "makes no sense"),
        (b"\x05\x00\x00\x00\x01x", "makes no sense"),
        (b"\x09\x00\x00\x00\x01x", "does not know"),
    ],
)
def test_records_that_make_no_sense(data: bytes, says: str) -> None:
    with pytest.raises(BackupUnusable, match=says):
        decoded(data)
