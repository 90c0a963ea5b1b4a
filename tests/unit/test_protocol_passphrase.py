"""One spelling for every passphrase."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onion_rdv.errors import MalformedPassphrase
from onion_rdv.protocol import normalise_passphrase

WHITE_SPACE = {
    *range(0x09, 0x0E), *range(0x1C, 0x20), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
    0x2028, 0x2029, 0x202F, 0x205F, 0x3000,
}  # fmt: skip
HYPHENS = {0x2D, 0xFE63, 0xFF0D}
SEPARATORS = st.text([chr(point) for point in WHITE_SPACE | HYPHENS], min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("typed", "normalised"),
    [
        ("correct horse battery staple", "correct horse battery staple"),
        ("  Correct--HORSE \t battery\u2003staple-", "correct horse battery staple"),
        ("stra\u00dfe \ufb01ve \uff21\uff22\uff23", "strasse five abc"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u03a3\u03ac\u03c2", "\u03c3\u03ac\u03c3"),  # final sigma folds to sigma
        ("\u0130", "i\u0307"),  # the same in every locale: no Turkish rules
        ("a\u2010b\u2011c", "a\u2010b\u2010c"),  # hyphens by name, which do not separate
        ("a\u200bb\u00adc", "a\u200bb\u00adc"),
        ("a\u00a8b", "a \u0308b"),  # NFKC takes it apart into a space and a mark
        ("\x00", "\x00"),
    ],
)
def test_normalises(typed: str, normalised: str) -> None:
    assert normalise_passphrase(typed).decode() == normalised


def test_separates_at_the_documented_characters_only() -> None:
    separating = {
        point
        for point in range(0x20000)
        if not 0xD800 <= point < 0xE000 and normalise_passphrase(f"a{chr(point)}b") == b"a b"
    }
    assert separating == WHITE_SPACE | HYPHENS


def test_normalising_twice_may_be_another_thing() -> None:
    once = normalise_passphrase("\u1fb3\u0308").decode()
    assert once == "\u03b1\u03b9\u0308"
    assert normalise_passphrase(once).decode() == "\u03b1\u03ca"


@given(st.lists(st.text("abcXYZ09", min_size=1), min_size=1, max_size=6), SEPARATORS, SEPARATORS)
def test_it_does_not_matter_how_words_are_set_apart(words: list[str], between: str, around: str) -> None:
    assert normalise_passphrase(around + between.join(words) + around) == " ".join(words).lower().encode()


@given(st.text(min_size=1))
def test_it_does_not_matter_how_accents_are_composed(typed: str) -> None:
    spellings = set()
    for form in ("NFC", "NFD"):
        try:
            spellings.add(normalise_passphrase(unicodedata.normalize(form, typed)))
        except MalformedPassphrase:
            spellings.add(b"")
    assert len(spellings) == 1


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_normalised_or_refused(typed: str) -> None:
    fault = "it is empty" if {ord(character) for character in typed} <= WHITE_SPACE | HYPHENS else None
    if any(unicodedata.category(character) == "Cs" for character in typed):
        fault = "it is not valid Unicode"
    if fault:
        with pytest.raises(MalformedPassphrase, match=fault):
            normalise_passphrase(typed)
        return
    normalised = normalise_passphrase(typed).decode()
    assert normalised.split() == normalised.split(" ")
    assert "-" not in normalised


def test_the_error_does_not_carry_the_passphrase() -> None:
    with pytest.raises(MalformedPassphrase) as caught:
        normalise_passphrase("secret\ud800")
    assert "secret" not in f"{caught.value!r} {caught.value}"
    assert caught.value.__suppress_context__
