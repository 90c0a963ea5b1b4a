"""Keys, sealing, and opening whole buckets; with a cheap Argon2id, since the vectors have the real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_material import ENTRY, FIRST, ONION_KEY, SALT, bucket_with, cheap_argon2, flip

from onion_rdv.errors import (
    ConflictingEntries,
    LinkTooLong,
    MalformedEntry,
    MalformedLink,
    MalformedPassphrase,
    MalformedReply,
    NoEntryOpens,
)
from onion_rdv.protocol import (
    BUCKET_ENTRIES,
    BUCKET_SIZE,
    ENTRY_SIZE,
    EntryKeys,
    decode_link,
    derive_keys,
    encode_link,
    keys,
    normalise_passphrase,
    open_bucket,
    open_bucket_with,
    seal,
)
from onion_rdv.protocol.entry import seal_with

if TYPE_CHECKING:
    from collections.abc import Iterator

LINKS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=51)
PASSPHRASES = st.text("abcdefgh \u00e9\u0436", min_size=1).filter(str.strip)
SALTS = st.binary(min_size=16, max_size=16)
ONION_KEYS = st.binary(min_size=32, max_size=32)
PLACES = st.integers(0, BUCKET_ENTRIES - 1)
SOME_KEYS = EntryKeys(commitment=b"c" * 32, key=b"k" * 32, nonce=b"n" * 24)


@pytest.fixture(scope="module", autouse=True)
def _cheap() -> Iterator[None]:
    with cheap_argon2():
        yield


def outcome(bucket: bytes, with_keys: EntryKeys) -> str | None:
    try:
        return open_bucket_with(bucket, with_keys)
    except NoEntryOpens:
        return None


@given(LINKS, PASSPHRASES, SALTS, ONION_KEYS, PLACES)
def test_a_link_comes_back_from_any_place(
    link: str, passphrase: str, salt: bytes, onion_key: bytes, place: int
) -> None:
    entry = seal(link, passphrase, salt, onion_key)
    assert len(entry) == ENTRY_SIZE
    bucket = b"".join(entry if at == place else os.urandom(ENTRY_SIZE) for at in range(BUCKET_ENTRIES))
    assert open_bucket(bucket, passphrase, salt, onion_key) == link
    assert open_bucket(bucket, normalise_passphrase(passphrase.upper()), salt, onion_key) == link
    with pytest.raises(NoEntryOpens):
        open_bucket(bucket, passphrase + "x", salt, onion_key)


@given(PASSPHRASES, SALTS, ONION_KEYS)
def test_keys_depend_on_passphrase_salt_and_server(passphrase: str, salt: bytes, onion_key: bytes) -> None:
    derived = derive_keys(passphrase, salt, onion_key)
    assert derived == derive_keys(normalise_passphrase(passphrase), salt, onion_key)
    assert (len(derived.commitment), len(derived.key), len(derived.nonce)) == (32, 32, 24)
    for other in (
        derive_keys(passphrase + "x", salt, onion_key),
        derive_keys(passphrase, flip(salt, 127), onion_key),
        derive_keys(passphrase, salt, flip(onion_key, 255)),
    ):
        parts = {derived.commitment, derived.key, derived.nonce, other.commitment, other.key, other.nonce}
        assert len(parts) == 6


def test_the_real_parameters_are_those_of_rfc_9106() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_MASTER_PASSES", 3)
        patch.setattr(keys, "_MASTER_MEMORY_KIB", 2**16)
        derived = derive_keys(FIRST["passphrase"], SALT, ONION_KEY)
    assert derived.commitment == ENTRY[:32]
    assert derived != derive_keys(FIRST["passphrase"], SALT, ONION_KEY)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_salt_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a salt has 16 bytes, not {size}"):
        seal("x", "y", bytes(size), ONION_KEY)
    with pytest.raises(ValueError, match=f"a salt has 16 bytes, not {size}"):
        open_bucket(bytes(BUCKET_SIZE), "y", bytes(size), ONION_KEY)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_onion_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"an onion key has 32 bytes, not {size}"):
        seal("x", "y", SALT, bytes(size))


@pytest.mark.parametrize("passphrase", ["", " - ", b"", "\ud800"])
def test_a_passphrase_that_is_none_is_refused(passphrase: str | bytes) -> None:
    with pytest.raises(MalformedPassphrase):
        seal("x", passphrase, SALT, ONION_KEY)


def test_a_link_that_cannot_be_sealed_is_refused_before_keys_are_derived() -> None:
    with pytest.raises(LinkTooLong, match="it has 207 bytes, and 206 is the most that fits"):
        seal("x" * 207, "", SALT, ONION_KEY)
    with pytest.raises(MalformedLink, match="control characters"):
        seal("x\n", "", SALT, ONION_KEY)


def test_keys_do_not_show_in_a_traceback() -> None:
    assert repr(SOME_KEYS) == "EntryKeys()"


def test_a_flipped_bit_anywhere_in_the_entry_is_noticed() -> None:
    derived = derive_keys("passphrase", SALT, ONION_KEY)
    entry = seal_with(encode_link("https://example.org/"), derived)
    bucket = bucket_with({63: entry})
    start = 63 * ENTRY_SIZE * 8
    assert [bit for bit in range(ENTRY_SIZE * 8) if outcome(flip(bucket, start + bit), derived) is not None] == []
    assert outcome(bucket, derived) == "https://example.org/"


@given(PLACES, st.integers(0, BUCKET_SIZE * 8 - 1))
def test_a_flipped_bit_elsewhere_in_the_bucket_does_not_matter(place: int, bit: int) -> None:
    entry = seal_with(encode_link("x"), SOME_KEYS)
    opened = outcome(flip(bucket_with({place: entry}), bit), SOME_KEYS)
    assert opened == (None if bit // 8 // ENTRY_SIZE == place else "x")


@given(st.binary(max_size=600), st.sampled_from([BUCKET_SIZE, BUCKET_SIZE, BUCKET_SIZE - 1, BUCKET_SIZE + 256, 0]))
def test_any_bytes_open_to_nothing_or_are_no_bucket(start: bytes, size: int) -> None:
    bucket = (start + SOME_KEYS.commitment).ljust(size, b"\xa5")[:size]
    with pytest.raises(NoEntryOpens if size == BUCKET_SIZE else MalformedReply):
        open_bucket_with(bucket, SOME_KEYS)


@given(st.binary(max_size=208).map(lambda start: start.ljust(208, b"\0")), PLACES)
def test_what_opens_is_a_link_or_refused(plaintext: bytes, place: int) -> None:
    bucket = bucket_with({place: seal_with(plaintext, SOME_KEYS)})
    try:
        link = open_bucket_with(bucket, SOME_KEYS)
    except MalformedEntry:
        with pytest.raises(MalformedEntry):
            decode_link(plaintext)
    else:
        assert decode_link(plaintext) == link


@given(st.dictionaries(PLACES, st.sampled_from(["one link", "another link"]), min_size=1))
def test_entries_that_open_have_to_agree(links: dict[int, str]) -> None:
    bucket = bucket_with({place: seal_with(encode_link(link), SOME_KEYS) for place, link in links.items()})
    if len(set(links.values())) > 1:
        with pytest.raises(ConflictingEntries):
            open_bucket_with(bucket, SOME_KEYS)
    else:
        assert open_bucket_with(bucket, SOME_KEYS) in links.values()


@given(PLACES, PLACES)
def test_one_malformed_entry_spoils_the_bucket(good: int, bad: int) -> None:
    malformed = seal_with(bytes([2]) + encode_link("x")[1:], SOME_KEYS)
    bucket = bucket_with({good: seal_with(encode_link("x"), SOME_KEYS), bad: malformed})
    with pytest.raises(MalformedEntry, match="of kind 2"):
        open_bucket_with(bucket, SOME_KEYS)
