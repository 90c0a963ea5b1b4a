"""HSalsa20, boxes and HKDF: published vectors, and what PyNaCl does."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_box, crypto_box_open
from smp_strategies import exactly, private_keys

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire import crypto
from onion_rdv.smp.wire.hsalsa import hsalsa20, hsalsa20_each
from onion_rdv.smp.wire.keys import Kind, PrivateKey

# "Cryptography in NaCl" (Bernstein, 2009): the secret of Alice and Bob, and the two keys that follow from it.
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
FIRST_KEY = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
NONCE_PREFIX = bytes.fromhex("69696ee955b62b73cd62bda875fc73d6")
SECOND_KEY = bytes.fromhex("dc908dda0b9344a953629b733820778880f3ceb421bb61b91cbd4c3e66256ce4")

LOW_ORDER = [
    bytes(32),
    bytes([1]).ljust(32, b"\0"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]
"""The public keys with which every X25519 result is zero (RFC 7748, section 7)."""


def test_hsalsa20_gives_the_published_keys() -> None:
    assert hsalsa20(SHARED) == FIRST_KEY
    assert hsalsa20(FIRST_KEY, NONCE_PREFIX) == SECOND_KEY
    assert crypto.box_key(SHARED) == FIRST_KEY


@given(st.lists(exactly(32), max_size=40), exactly(16))
def test_many_keys_at_once_are_the_same_as_one_by_one(keys: list[bytes], data: bytes) -> None:
    assert hsalsa20_each(keys, data) == [hsalsa20(key, data) for key in keys]


@pytest.mark.parametrize(("key", "data"), [(31, 16), (33, 16), (32, 15), (32, 17), (0, 16)])
def test_keys_and_inputs_of_other_sizes_are_refused(key: int, data: int) -> None:
    with pytest.raises(ValueError, match="takes keys of 32 and an input of 16 bytes"):
        hsalsa20(bytes(key), bytes(data))


@given(private_keys(Kind.X25519), private_keys(Kind.X25519), exactly(24), st.binary(max_size=100))
def test_a_box_under_an_x25519_result_is_nacls(one: PrivateKey, other: PrivateKey, nonce: bytes, text: bytes) -> None:
    secret = crypto.agree(one.raw, other.public.raw, "a test")
    assert secret == crypto.agree(other.raw, one.public.raw, "a test")
    key = crypto.box_key(secret)
    assert key == crypto.agreed_box_key(one.raw, other.public.raw, "a test")
    box = crypto_box(text, nonce, other.public.raw, one.raw)
    assert crypto.seal(key, nonce, text) == box
    assert crypto.unseal(key, nonce, box, "a test") == text
    padded = crypto.seal_padded(key, nonce, text, 128)
    assert crypto_box_open(padded, nonce, one.public.raw, other.raw)[2 : 2 + len(text)] == text
    assert crypto.unseal_padded(key, nonce, padded, "a test") == text


@given(exactly(32), exactly(24), st.binary(min_size=16, max_size=60), st.data())
def test_a_box_that_was_changed_does_not_open(key: bytes, nonce: bytes, text: bytes, data: st.DataObject) -> None:
    box = bytearray(crypto.seal(key, nonce, text))
    box[data.draw(st.integers(0, len(box) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(MalformedBlock, match="a test: it does not open"):
        crypto.unseal(key, nonce, bytes(box), "a test")


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_box_shorter_than_its_tag_is_refused(size: int) -> None:
    with pytest.raises(MalformedBlock, match="a test: it is cut short"):
        crypto.unseal(bytes(32), bytes(24), bytes(size), "a test")


@pytest.mark.parametrize("public", LOW_ORDER, ids=[key.hex()[:6] for key in LOW_ORDER])
def test_keys_of_low_order_are_refused(public: bytes) -> None:
    for agree in (crypto.agree, crypto.agreed_box_key):
        with pytest.raises(MalformedBlock, match="a test: its key is of low order"):
            agree(bytes(range(32)), public, "a test")


@given(st.binary(max_size=100), st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 200))
def test_hkdf_is_rfc_5869s_with_sha_512(secret: bytes, salt: bytes, info: bytes, size: int) -> None:
    key = hmac.digest(salt or bytes(64), secret, hashlib.sha512)
    output, last = b"", b""
    for number in range(1, 5):
        last = hmac.digest(key, last + info + bytes([number]), hashlib.sha512)
        output += last
    assert crypto.hkdf(secret, info, size, salt=salt) == output[:size]
