"""Invites, written and read."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from protocol_material import FIRST, ONION_KEY, SALT, flip

from onion_rdv.errors import MalformedInvite, MalformedPassphrase
from onion_rdv.protocol import Invite, base32, normalise_passphrase

INVITE: str = FIRST["invite"]
PARSED = Invite(ONION_KEY, 80, bytes.fromhex(FIRST["bucket_link"]), SALT)
HOST, TOKEN = FIRST["onion_address"], INVITE[-56:]

BYTES_16 = st.binary(min_size=16, max_size=16)
PORTS = st.integers(1, 2**16 - 1)


def parsed(text: str) -> Invite | None:
    try:
        return Invite.parse(text)
    except MalformedInvite:
        return None


def settled(passphrase: str) -> bool:
    try:
        once = normalise_passphrase(passphrase).decode()
        return normalise_passphrase(once).decode() == once
    except MalformedPassphrase:
        return False


@given(st.binary(min_size=32, max_size=32), PORTS, BYTES_16, BYTES_16, st.none() | st.text().filter(settled))
def test_an_invite_comes_back(
    onion_key: bytes, port: int, bucket_link: bytes, salt: bytes, passphrase: str | None
) -> None:
    invite = Invite(onion_key, port, bucket_link, salt, passphrase)
    text = str(invite)
    assert Invite.parse(text) == invite
    assert (invite.onion_key, invite.port, invite.bucket_link, invite.salt) == (onion_key, port, bucket_link, salt)
    assert re.fullmatch(
        r"rdv://[a-z2-7]{56}\.onion(:[1-9][0-9]{0,4})?/[a-z2-7]{56}(#([A-Za-z0-9._~-]|%[0-9A-F]{2})+)?", text
    )
    assert (":80/" in text, "#" in text) == (False, passphrase is not None)
    if passphrase is not None:
        assert invite.passphrase is not None
        assert invite.passphrase.encode() == normalise_passphrase(passphrase)


@given(st.text(st.characters(exclude_categories=[])))
@example("")
@example("\ud800")
def test_any_text_is_an_invite_or_refused(text: str) -> None:
    assert parsed(text) is None
    for damaged in (INVITE + text, f"rdv://{HOST}/{text}", f"rdv://{text}/{TOKEN}", f"rdv://{HOST}:{text}/{TOKEN}"):
        invite = parsed(damaged)
        assert invite is None or (invite.onion_key, invite.bucket_link) == (ONION_KEY, PARSED.bucket_link)
    with_passphrase = parsed(f"{INVITE}#{text}")
    assert with_passphrase is None or Invite.parse(str(with_passphrase)) == with_passphrase


@pytest.mark.parametrize("position", range(len(INVITE)))
def test_a_flipped_bit_is_noticed_or_changes_only_the_case(position: int) -> None:
    for bit in range(8):
        damaged = INVITE[:position] + chr(ord(INVITE[position]) ^ 1 << bit) + INVITE[position + 1 :]
        assert parsed(damaged) == (PARSED if damaged.lower() == INVITE else None)


def test_a_flipped_bit_in_port_or_passphrase_changes_only_these() -> None:
    text = f"rdv://{HOST}:8080/{TOKEN}#correct-horse"
    for position in (*range(len("rdv://") + 62, len("rdv://") + 67), *range(len(text) - 14, len(text))):
        for bit in range(8):
            invite = parsed(text[:position] + chr(ord(text[position]) ^ 1 << bit) + text[position + 1 :])
            if invite is not None:
                port, passphrase = invite.port, invite.passphrase
                assert invite == Invite(ONION_KEY, port, PARSED.bucket_link, SALT, passphrase)
                assert port == 8080 or passphrase == "correct horse"


def test_a_flipped_bit_in_what_host_and_token_spell_out_is_noticed() -> None:
    host, token = (base32.decode(text) for text in (HOST.removesuffix(".onion"), TOKEN))
    damaged = [f"rdv://{base32.encode(flip(host, bit))}.onion/{TOKEN}" for bit in range(35 * 8)]
    damaged += [f"rdv://{HOST}/{base32.encode(flip(token, bit))}" for bit in range(35 * 8)]
    assert [text for text in damaged if parsed(text) is not None] == []


def test_a_wrong_character_is_noticed() -> None:
    places = (*range(6, 62), *range(len(INVITE) - 56, len(INVITE)))
    read = {
        damaged
        for place in places
        for letter in string.ascii_lowercase + "234567"
        if parsed(damaged := INVITE[:place] + letter + INVITE[place + 1 :])
    }
    assert read == {INVITE}


@pytest.mark.parametrize(
    "text", [INVITE.upper(), INVITE.swapcase(), f"RDV://{HOST}/{TOKEN}", INVITE.replace(HOST, HOST + ":80")]
)
def test_case_and_the_usual_port_are_read_but_not_written(text: str) -> None:
    assert Invite.parse(text) == PARSED
    assert str(Invite.parse(text)) == INVITE


@pytest.mark.parametrize("port", [1, 79, 81, 9999, 65535])
def test_other_ports_are_written(port: int) -> None:
    text = INVITE.replace(HOST, f"{HOST}:{port}")
    assert Invite.parse(text).port == port
    assert str(Invite.parse(text)) == text


@pytest.mark.parametrize(
    ("fragment", "passphrase"),
    [
        ("correct-horse-battery", "correct horse battery"),
        ("Correct-Horse--Battery-", "correct horse battery"),
        ("correct%20horse%2Dbattery\n", "correct horse battery"),
        ("correct horse battery ", "correct horse battery"),
        ("\u043f\u0430\u0440-\u043e\u043b\u044c", "\u043f\u0430\u0440 \u043e\u043b\u044c"),
        ("caf%C3%A9", "caf\u00e9"),
        ("caf%c3%a9", "caf\u00e9"),
        ("cafe%CC%81", "caf\u00e9"),
        ("caf\u00e9", "caf\u00e9"),
        ("a+b", "a+b"),
        ("a#b?c/d:e@f", "a#b?c/d:e@f"),
        ("100%25", "100%"),
        ("%00", "\x00"),
    ],
)
def test_a_passphrase_is_read_however_it_is_spelled(fragment: str, passphrase: str) -> None:
    invite = Invite.parse(f"{INVITE}#{fragment}")
    assert invite.passphrase == passphrase
    assert invite == Invite(ONION_KEY, 80, PARSED.bucket_link, SALT, passphrase)


@pytest.mark.parametrize(
    ("passphrase", "fragment"),
    [
        ("Correct Horse", "correct-horse"),
        ("a.b_c~d 0", "a.b_c~d-0"),
        ("100% sure?", "100%25-sure%3F"),
        ("\u00c9t\u00e9", "%C3%A9t%C3%A9"),
        ("a/b#c+d:e", "a%2Fb%23c%2Bd%3Ae"),
    ],
)
def test_a_passphrase_is_written_in_one_way(passphrase: str, fragment: str) -> None:
    assert str(Invite(ONION_KEY, 80, PARSED.bucket_link, SALT, passphrase)) == f"{INVITE}#{fragment}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((bytes(31), 80, bytes(16), bytes(16)), "an onion key has 32 bytes, not 31"),
        ((bytes(32), 80, bytes(17), bytes(16)), "a bucket link has 16 bytes, not 17"),
        ((bytes(32), 80, bytes(16), bytes(0)), "a salt has 16 bytes, not 0"),
        ((bytes(32), 0, bytes(16), bytes(16)), "a port is a number from 1 to 65535"),
        ((bytes(32), 65536, bytes(16), bytes(16)), "a port is a number from 1 to 65535"),
        ((bytes(32), -80, bytes(16), bytes(16)), "a port is a number from 1 to 65535"),
    ],
)
def test_wrong_parts_are_refused(values: tuple[bytes, int, bytes, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Invite(*values)


@pytest.mark.parametrize(
    ("passphrase", "detail"),
    [
        ("", "it is empty"),
        (" - ", "it is empty"),
        ("\udc00", "it is not valid Unicode"),
        ("\u1fb3\u0308", "the accents on one of its letters have no settled spelling"),
    ],
)
def test_a_passphrase_that_cannot_be_written_is_refused(passphrase: str, detail: str) -> None:
    with pytest.raises(MalformedPassphrase) as caught:
        Invite(ONION_KEY, 80, PARSED.bucket_link, SALT, passphrase)
    assert caught.value.detail == detail


def test_an_invite_without_port_and_passphrase_has_125_characters() -> None:
    assert len(INVITE) == 125


def test_secrets_do_not_show_in_a_traceback() -> None:
    shown = repr(Invite(ONION_KEY, 80, PARSED.bucket_link, SALT, "secret"))
    assert shown == f"Invite(onion_key={ONION_KEY!r}, port=80)"
