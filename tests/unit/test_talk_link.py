"""The link to a talk, and what the two ends say first: written in one way, read in no other."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk_material import LINK_ID, ONION, SENDER_ID, SERVER, begin, randomness

from onion_rdv.client.talk.introductions import HELLO, Hello, Introduction
from onion_rdv.client.talk.keys import new_key
from onion_rdv.client.talk.link import TalkLink, is_talk_link, with_one_host
from onion_rdv.errors import LinkDataRefused, MalformedBlock, MalformedEntry, TalkBroken, UsageError
from onion_rdv.protocol import decode_link, encode_link
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.commands import LinkData
from onion_rdv.smp.wire.keys import Kind, PublicKey
from onion_rdv.smp.wire.link_data import FIXED_SIZE, USER_SIZE, invitation_secret, link_key, seal_part

LINK = TalkLink(SERVER, LINK_ID, bytes(32))
HOSTS = st.one_of(st.just(ONION), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\.example", fullmatch=True))
SERVERS = st.builds(SmpServer, st.binary(min_size=32, max_size=32), st.tuples(HOSTS), st.integers(1, 65535))
LINKS = st.builds(TalkLink, SERVERS, st.binary(min_size=24, max_size=24), st.binary(min_size=32, max_size=32))


@given(LINKS)
def test_a_link_is_read_as_it_was_written_and_fits_into_an_entry(link: TalkLink) -> None:
    assert TalkLink.parse(str(link)) == link
    assert decode_link(encode_link(str(link))) == str(link)


def test_how_a_link_looks() -> None:
    fingerprint = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")
    link_id = base64.urlsafe_b64encode(LINK_ID).decode()
    assert str(LINK) == f"rdv-talk://{fingerprint}@{ONION}/{link_id}#{'A' * 43}"
    longest = replace(LINK, server=replace(SERVER, port=65535))
    assert len(str(longest)) == 200
    assert "AAAA" not in repr(LINK)


@pytest.mark.parametrize(
    "link", ["simplex:/i#abc", "https://smp.example.org/i#abc", "", "smp://x@y", "RDV-TALK://x", "rdv-talk:x"]
)
def test_links_for_an_app_are_refused_without_asking_anybody(link: str) -> None:
    assert not is_talk_link(link)
    with pytest.raises(UsageError, match="for a messaging app") as caught:
        TalkLink.parse(link)
    assert "onion-rdv accept" in caught.value.hint


@given(st.integers(0, 199), st.characters(exclude_categories=["Cs"]))
def test_a_link_with_a_slip_is_refused_or_another_link(place: int, character: str) -> None:
    text = str(replace(LINK, server=replace(SERVER, port=65535)))
    slipped = text[:place] + character + text[place + 1 :]
    with suppress(UsageError):
        assert str(TalkLink.parse(slipped)) == slipped


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "=",
        lambda text: text[:-1],
        lambda text: text[:-1] + "B",  # bits that mean nothing
        lambda text: text.replace(".onion", ".ONION"),
        lambda text: text.replace(".onion", ".onion:5223"),
        lambda text: text.replace(".onion", ".onion:0"),
        lambda text: text.replace(".onion", ".onion,example.org"),
        lambda text: text.replace("@", ":password@"),
        lambda text: text.replace("@", "A@"),
    ],
)
def test_a_link_has_one_spelling(change: object) -> None:
    assert callable(change)
    with pytest.raises(MalformedEntry):
        TalkLink.parse(change(str(LINK)))


def test_what_is_passed_on_of_a_server() -> None:
    server = SmpServer.parse(f"smp://{SERVER.fingerprint}:secret@smp.example.org,{ONION}:443")
    assert with_one_host(server) == SmpServer(SERVER.key_hash, (ONION,), 443)
    assert "secret" not in str(with_one_host(server))


# Introductions


def test_the_parts_are_as_long_as_an_apps() -> None:
    _, data = begin()[0].introduce(SENDER_ID)
    assert (len(data.fixed), len(data.user)) == (FIXED_SIZE + 40, USER_SIZE + 40)


def test_an_app_takes_the_introduction_for_a_version_that_it_does_not_know() -> None:
    introduction = begin()[2].encode()
    assert int.from_bytes(introduction[:2], "big") > 1000


@given(st.integers(0, 2047), st.booleans(), st.integers(1, 255))
def test_an_introduction_that_the_server_changed_is_refused(place: int, in_fixed: bool, change: int) -> None:
    beginner, link, _ = begin()
    _, data = beginner.introduce(SENDER_ID)
    part = bytearray(data.fixed if in_fixed else data.user)
    part[place] ^= change
    changed = LinkData(bytes(part), data.user) if in_fixed else LinkData(data.fixed, bytes(part))
    with pytest.raises(LinkDataRefused):
        Introduction.open(link, SENDER_ID, changed)


def test_an_introduction_for_another_queue_or_link_is_refused() -> None:
    beginner, link, _ = begin()
    _, data = beginner.introduce(SENDER_ID)
    with pytest.raises(LinkDataRefused, match="names another queue"):
        Introduction.open(link, bytes(24), data)
    with pytest.raises(LinkDataRefused):
        Introduction.open(replace(link, link_key=bytes(32)), SENDER_ID, data)
    _, of_another = begin(1)[0].introduce(SENDER_ID)
    with pytest.raises(LinkDataRefused):
        Introduction.open(link, SENDER_ID, of_another)


@given(st.binary(max_size=300), st.booleans())
def test_any_introduction_that_the_link_means_raises_only_the_protocols_errors(
    data: bytes, begins_well: bool
) -> None:
    beginner, link, introduction = begin()
    fixed = introduction.encode()[: len(data)] + data if begins_well else data
    key = link_key(fixed)
    sealed = [
        seal_part(invitation_secret(key), bytes(24), beginner._root, part, size)
        for part, size in ((fixed, FIXED_SIZE), (b"", USER_SIZE))
    ]
    with pytest.raises((TalkBroken, LinkDataRefused, MalformedBlock)):
        Introduction.open(replace(link, link_key=key), SENDER_ID, LinkData(*sealed))


def test_versions_that_are_not_known() -> None:
    introduction = begin()[2]
    written = introduction.encode()
    assert Introduction.decode(written) == introduction
    newer = written.replace(b"talk\0\x01", b"talk\0\x02", 1)
    for read, message in ((Introduction.decode, newer), (Hello.decode, HELLO + b"\0\x02" + bytes(200))):
        with pytest.raises(TalkBroken, match="version 2") as caught:
            read(message)
        assert "update onion-rdv" in caught.value.hint


@given(SERVERS, st.integers(0, 400))
def test_a_hello_is_read_as_it_was_written(server: SmpServer, cut: int) -> None:
    hello = Hello(new_key(randomness(1)).public, bytes(32), new_key(randomness(2)).public, SENDER_ID, server)
    message = hello.encode()
    assert Hello.decode(message) == hello
    for wrong in (message[: min(cut, len(message) - 1)], message + b"\0"):
        with pytest.raises(TalkBroken):
            Hello.decode(wrong)


@pytest.mark.parametrize(
    "host", ["EXAMPLE.org", "a,b", "a:5223", "a/b", "a#b", "", "a b", "\u00e9", "a..b", "b" * 64 + ".onion"]
)
def test_a_hello_with_a_host_that_is_none_is_refused(host: str) -> None:
    key = PublicKey(Kind.X25519, bytes(32))
    message = Hello(key, bytes(32), key, SENDER_ID, SmpServer(bytes(32), (host,), 1)).encode()
    with pytest.raises(TalkBroken, match="the server"):
        Hello.decode(message)
