"""Onion addresses, and the base32 that they share with tokens."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_material import FIRST, ONION_KEY, flip

from onion_rdv.errors import MalformedOnionAddress
from onion_rdv.protocol import base32, decode_onion_address, encode_onion_address

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS: str = FIRST["onion_address"]


def decoded(address: str) -> bytes | None:
    try:
        return decode_onion_address(address)
    except MalformedOnionAddress:
        return None


@given(st.binary(min_size=32, max_size=32))
def test_every_key_comes_back(onion_key: bytes) -> None:
    address = encode_onion_address(onion_key)
    assert len(address) == 62
    assert decode_onion_address(address) == onion_key


@given(st.binary(max_size=64).filter(lambda key: len(key) != 32))
def test_a_key_of_another_length_is_refused(onion_key: bytes) -> None:
    with pytest.raises(ValueError, match="an onion key has 32 bytes"):
        encode_onion_address(onion_key)


@pytest.mark.parametrize("change", [str.upper, str.title, str.swapcase])
def test_case_does_not_matter(change: Callable[[str], str]) -> None:
    assert decode_onion_address(change(ADDRESS)) == ONION_KEY


@given(st.text() | st.text("abcdefgh234567=", min_size=54, max_size=58).map(lambda text: text + ".onion"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    onion_key = decoded(text)
    assert onion_key is None or encode_onion_address(onion_key) == text.lower()


@pytest.mark.parametrize("position", range(len(ADDRESS)))
def test_a_flipped_bit_is_noticed_or_changes_only_the_case(position: int) -> None:
    for bit in range(8):
        damaged = ADDRESS[:position] + chr(ord(ADDRESS[position]) ^ 1 << bit) + ADDRESS[position + 1 :]
        assert decoded(damaged) == (ONION_KEY if damaged.lower() == ADDRESS else None)


def test_a_flipped_bit_in_what_it_spells_out_is_noticed() -> None:
    value = base32.decode(ADDRESS.removesuffix(".onion"))
    assert [bit for bit in range(len(value) * 8) if decoded(base32.encode(flip(value, bit)) + ".onion")] == []


def test_a_wrong_character_is_noticed() -> None:
    alphabet = string.ascii_lowercase + "234567"
    accepted = {
        damaged
        for position in range(base32.CHARACTERS)
        for letter in alphabet
        if decoded(damaged := ADDRESS[:position] + letter + ADDRESS[position + 1 :])
    }
    assert accepted == {ADDRESS}


def test_no_character_beyond_ascii_passes_for_a_letter() -> None:
    letters = string.ascii_lowercase + "234567"
    look_alikes = [
        (letter, other)
        for other in map(chr, range(0x80, 0x20000))
        for letter in {other.lower(), other.upper().lower(), other.casefold()}
        if letter in letters and letter
    ]
    assert ("k", "\N{KELVIN SIGN}") in look_alikes
    assert [
        other for letter, other in look_alikes if decoded(ADDRESS.replace(letter, other)) and letter in ADDRESS
    ] == []


@given(st.binary(min_size=base32.SIZE, max_size=base32.SIZE))
def test_base32_comes_back(value: bytes) -> None:
    assert base32.decode(base32.encode(value)) == value
    assert base32.decode(base32.encode(value).upper()) == value


@given(st.text(max_size=60) | st.text("ab27=AB \n\u212a", min_size=56, max_size=56))
def test_base32_gives_35_bytes_or_refuses(text: str) -> None:
    if re.fullmatch("[A-Za-z2-7]{56}", text):
        assert base32.encode(base32.decode(text)) == text.lower()
        return
    with pytest.raises(ValueError, match="only the letters" if len(text) == 56 else "characters instead of 56"):
        base32.decode(text)
