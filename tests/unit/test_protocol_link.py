"""Links as plaintexts of one size."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_material import KIND1_VECTORS, plaintext_of

from onion_rdv.errors import LinkTooLong, MalformedEntry, MalformedLink
from onion_rdv.protocol import decode_link, encode_link

FORBIDDEN = {*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)}
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])


@given(st.text(CHARACTERS, min_size=1, max_size=206))
def test_a_link_comes_back_or_is_too_long(link: str) -> None:
    size = len(link.encode())
    if size > 206:
        with pytest.raises(LinkTooLong, match=f"it has {size} bytes, and 206 is the most that fits"):
            encode_link(link)
        return
    plaintext = encode_link(link)
    assert len(plaintext) == 208
    assert decode_link(plaintext) == link


@pytest.mark.parametrize("link", ["x", "x" * 206, "\u00e9" * 103, "\U0001f9c5" * 51])
def test_the_bytes_are_kind_length_body_zeros(link: str) -> None:
    body = link.encode()
    assert encode_link(link) == b"\x00" + bytes([len(body)]) + body + bytes(206 - len(body))


def test_refuses_the_documented_characters_only() -> None:
    refused = {}
    for point in (*range(0x20000), 0xE0001, 0x10FFFF):
        try:
            encode_link(f"rdv:{chr(point)}")
        except MalformedLink as error:
            refused[point] = error.detail
    assert refused == dict.fromkeys(sorted(FORBIDDEN), "there are control characters in it")


@given(
    st.binary(max_size=300)
    | st.binary(max_size=208).map(lambda start: start.ljust(208, b"\0"))
    | st.binary(min_size=1, max_size=206).map(lambda body: plaintext_of(0, body))
    | st.sampled_from(KIND1_VECTORS).map(lambda vector: plaintext_of(1, bytes.fromhex(vector["packed"])))
)
def test_any_bytes_are_the_one_encoding_of_a_link_in_their_kind_or_refused(plaintext: bytes) -> None:
    with contextlib.suppress(MalformedEntry):
        link = decode_link(plaintext)
        if plaintext[0] == 1 and len(link) <= 206:  # a sender uses kind 0 for it
            assert encode_link(link) == plaintext_of(0, link.encode())
        else:
            assert encode_link(link) == plaintext


@given(st.text(CHARACTERS, min_size=1, max_size=40), st.integers(0, 205), st.integers(1, 255))
def test_padding_has_to_be_zero(link: str, place: int, value: int) -> None:
    plaintext = bytearray(encode_link(link))
    place = 2 + len(link.encode()) + place % (206 - len(link.encode()))
    plaintext[place] = value
    with pytest.raises(MalformedEntry, match="its padding is not zero"):
        decode_link(bytes(plaintext))


@pytest.mark.parametrize("kind", range(2, 256))
def test_other_kinds_are_refused_and_may_be_newer(kind: int) -> None:
    with pytest.raises(MalformedEntry, match=f"of kind {kind}, which this version does not know") as caught:
        decode_link(bytes([kind]) + encode_link("x")[1:])
    assert caught.value.hint == "the sender's version is newer: update onion-rdv"


def test_an_entry_that_is_malformed_is_no_fault_of_the_person_s_link() -> None:
    with pytest.raises(MalformedEntry) as caught:
        decode_link(bytes(208))
    assert caught.value.hint == "ask for a new invite"
