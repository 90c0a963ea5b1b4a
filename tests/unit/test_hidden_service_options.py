"""Ours is changed among tor's hidden-service options, and all others stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offline_tor import COOKIE, offline_tor

from onion_rdv.tor.control import connect
from onion_rdv.tor.onion_service.hidden_service_options import (
    Block,
    blocks,
    escaped,
    merged,
    plain,
    position,
    same,
    setconf,
)

if TYPE_CHECKING:
    from pathlib import Path

ONE: Block = (("HiddenServiceDir", "/var/lib/tor/one"), ("HiddenServicePort", "80 127.0.0.1:8080"))
TWO: Block = (
    ("HiddenServiceDir", '"/var/lib/tor/\\303\\251 #2"'),
    ("HiddenServicePort", '81 unix:"/a b"'),
    ("HiddenServicePort", "82"),
    ("HiddenServiceNumIntroductionPoints", "5"),
)


def test_blocks_begin_with_their_directory() -> None:
    assert blocks([]) == []
    assert blocks([*ONE, *TWO]) == [ONE, TWO]
    assert blocks(TWO[1:]) == [TWO[1:]]


def test_a_directory_is_found_however_it_is_written() -> None:
    assert position([ONE, TWO], "/var/lib/tor/é #2") == 1
    assert position([ONE, TWO], "/var/lib/tor/../tor/one/") == 0
    assert position([ONE, TWO], "/var/lib/tor/three") is None
    assert position([TWO[1:]], "81 unix:/a b") is None


def test_merged_keeps_what_is_not_ours() -> None:
    new: Block = (TWO[0], ("HiddenServicePort", "80 unix:/x"), ("HiddenServiceDirGroupReadable", "1"))
    old = (*TWO, ("HiddenServiceDirGroupReadable", "0"))
    assert merged(old, new, frozenset({"HiddenServiceDir", "HiddenServicePort"})) == (*new, TWO[3])


def test_order_and_quotes_make_no_difference() -> None:
    assert same(ONE, (("HiddenServicePort", '"80 127.0.0.1:8080"'), ONE[0]))
    assert not same(ONE, (*ONE, ONE[1]))


def test_setconf_is_one_line_of_ascii() -> None:
    assert setconf([ONE, TWO]) == (
        'SETCONF HiddenServiceDir="/var/lib/tor/one" HiddenServicePort="80 127.0.0.1:8080" '
        'HiddenServiceDir="/var/lib/tor/\\303\\251 #2" HiddenServicePort="81 unix:\\"/a b\\"" '
        'HiddenServicePort="82" HiddenServiceNumIntroductionPoints="5"'
    )


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_plain_undoes_escaped(text: str) -> None:
    assert plain(escaped(text)) == text
    assert escaped(text).isascii()
    assert escaped(text).isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"a\\tb\\nc\\rd"', "a\tb\nc\rd"),
        ('"\\x41\\101\\""', 'AA"'),
        ('"', '"'),
        ("a\\101", "a\\101"),
        ('""', ""),
        ('"\\8"', "8"),
    ],
)
def test_escapes(value: str, text: str) -> None:
    assert plain(value) == text


async def test_tor_has_the_same_afterwards(tmp_path: Path) -> None:
    """What tor gives is what it takes, with the values that are hardest to quote."""
    directories = ["plain", "with space", "é", 'quo"te', "back\\slash", "hash#", "tab\there", '"']
    options = []
    for number, name in enumerate(directories, 1):
        options.append(("HiddenServiceDir", escaped(f"{tmp_path}/{name}")))
        options.append(("HiddenServicePort", f'{number} unix:"/tmp/a b{number}"'))
        options.append(("HiddenServicePort", f"{number + 100} 127.0.0.1:{number}"))
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        async with await connect(tor.control) as control:
            await control.ask(setconf(blocks(options)))
            once = await control.conf("HiddenServiceOptions")
            await control.ask(setconf(blocks(once)))
            assert await control.conf("HiddenServiceOptions") == once
    assert [(name, plain(value)) for name, value in once] == [(name, plain(value)) for name, value in options]
    assert all((tmp_path / name / "hostname").exists() for name in directories)
