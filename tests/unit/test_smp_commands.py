"""Commands, replies and the transmissions around them: what is said is understood, in every version spoken."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from smp_authorization import is_authorized
from smp_strategies import COMMANDS, IDS, REPLIES, SPOKEN, TRANSMISSIONS, exactly, private_keys, public_keys
from test_smp_crypto import LOW_ORDER

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire import commands, replies
from onion_rdv.smp.wire.blocks import MAX_BLOCK_DATA
from onion_rdv.smp.wire.commands import Command, LinkData, Mode, New, QueueLink, UnknownCommand, parse_command
from onion_rdv.smp.wire.encoding import large, short
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey
from onion_rdv.smp.wire.replies import Err, Ids, Ok, Reply, Sok, parse_reply
from onion_rdv.smp.wire.transmissions import (
    AUTHENTICATOR_SIZE,
    Authenticator,
    Signer,
    Transmission,
    authorizer,
    batches,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

ED25519 = PrivateKey(Kind.ED25519, bytes(range(32)))
X25519 = PrivateKey(Kind.X25519, bytes(range(32)))
X448 = PrivateKey(Kind.X448, bytes(range(56)))
ED, X, X4 = (short(key.public.encode()) for key in (ED25519, X25519, X448))
ID = bytes(range(24))
AN_ID = short(ID)
SESSION_ID = bytes(range(32))


@given(COMMANDS, SPOKEN)
def test_a_command_is_understood(command: Command, version: int) -> None:
    assert parse_command(command.encode(version), version) == command


@given(REPLIES, SPOKEN)
def test_a_reply_is_understood(reply: Reply, version: int) -> None:
    said = reply.encode(version)
    if reply == Sok() and version < 16:
        assert parse_reply(said, version) == Ok()
    else:
        assert parse_reply(said, version) == reply


def test_versions_differ_in_their_last_fields() -> None:
    new = New(ED25519.public, X25519.public, Mode.MESSAGING)
    assert [new.encode(version) for version in (15, 16)] == [b"NEW " + ED + X + b"0S1M0"] * 2
    assert [new.encode(version) for version in (17, 18)] == [b"NEW " + ED + X + b"0S1M00"] * 2
    ids = Ids(ID, ID, X25519.public, Mode.CONTACT, ID)
    start = b"IDS " + AN_ID + AN_ID + X + b"1C1" + AN_ID
    assert [ids.encode(version) for version in (15, 16, 17, 18)] == [
        start,
        start + b"0",
        start + b"00",
        start + b"00",
    ]
    assert [Sok().encode(version) for version in (15, 16, 18)] == [b"OK", b"SOK 0", b"SOK 0"]


def test_a_link_needs_its_ids_where_its_maker_chooses_them() -> None:
    data = LinkData(b"fixed", b"user")
    sealed = large(b"fixed") + large(b"user")
    for mode, link_id, written in ((Mode.MESSAGING, None, b"1M1"), (Mode.CONTACT, ID, b"1C1" + AN_ID)):
        new = New(ED25519.public, X25519.public, mode, b"secret", subscribe=False, link=QueueLink(ID, data, link_id))
        assert new.encode(15) == b"NEW " + ED + X + b"1\6secretC" + written + AN_ID + sealed


WRONG_COMMANDS = {
    b"PING ": "more than belongs there",
    b"SUB 0": "more than belongs there",
    b"NEW": "cut short",
    b"NEW " + ED: "cut short",
    b"NEW " + X4 + X + b"0S0": "of a kind that does not belong there",
    b"NEW " + ED + ED + b"0S0": "of a kind that does not belong there",
    b"NEW " + ED + X + b"2S0": "neither there nor missing",
    b"NEW " + ED + X + b"0X0": "neither subscribes nor creates only",
    b"NEW " + ED + X + b"0S1X0": "of a mode that is not known",
    b"NEW " + ED + X + b"0S1M1" + AN_ID: "cut short",
    b"NEW " + ED + X + b"0S1M1\x17" + ID[1:] + b"\0\0\0\0": "a part of it has 23 bytes",
    b"NEW " + ED + X + b"0S00": "more than belongs there",
    b"KEY " + X4: "of a kind that does not belong there",
    b"SKEY x": "cut short",
    b"LKEY " + ED + b"x": "more than belongs there",
    b"RKEY \0": "it names no key",
    b"RKEY \2" + ED: "cut short",
    b"LSET " + AN_ID + b"\0\1x": "cut short",
    b"LSET \0\0\0\0\0": "a part of it has 0 bytes",
    b"SEND X text": "neither T nor F",
    b"SEND Ttext": "something stands where something else belongs",
    b"SEND T": "cut short",
    b"ACK": "cut short",
    b"ACK \2a": "cut short",
}


@pytest.mark.parametrize("said", WRONG_COMMANDS)
def test_what_is_no_command_is_refused(said: bytes) -> None:
    with pytest.raises(MalformedBlock, match=f"a command: .*{WRONG_COMMANDS[said]}") as caught:
        parse_command(said, 15)
    assert type(caught.value) is MalformedBlock


@pytest.mark.parametrize("said", [b"NOPE", b"", b"ping", b"PING\n", b"PING\0", b"NEWx", b" ", b"NKEY x"])
def test_a_command_that_is_not_known_is_told_from_a_malformed_one(said: bytes) -> None:
    with pytest.raises(UnknownCommand):
        parse_command(said, 18)


def test_notifications_are_not_spoken() -> None:
    with pytest.raises(MalformedBlock, match="a command: something stands"):
        parse_command(b"NEW " + ED + X + b"0S01", 17)
    for version in (16, 17):
        with pytest.raises(MalformedBlock, match="a reply: something stands"):
            parse_reply(b"IDS " + AN_ID + AN_ID + X + b"00" + b"0" * (version - 16) + b"1", version)


WRONG_REPLIES = {
    b"": "it is none that SMP knows",
    b"NID x": "it is none that SMP knows",
    b"ok": "it is none that SMP knows",
    b"OK ": "more than belongs there",
    b"IDS " + AN_ID: "cut short",
    b"IDS " + AN_ID + AN_ID + ED + b"00": "of a kind that does not belong there",
    b"IDS " + AN_ID + AN_ID + X + b"1X0": "of a mode that is not known",
    b"IDS " + AN_ID + AN_ID + X + b"01\1x": "a part of it has 1 bytes",
    b"LNK " + AN_ID + b"\0\1x": "cut short",
    b"SOK 1": "something stands where something else belongs",
    b"SOK": "cut short",
    b"MSG \1x": "a part of it has 1 bytes",
    b"INFO": "cut short",
    b"ERR": "cut short",
    b"ERR ": "its error has no name",
    b"ERR auth": "its error has no name",
    b"ERR AUTH\n": "its error has no name",
}


@pytest.mark.parametrize("said", WRONG_REPLIES)
def test_what_is_no_reply_is_refused(said: bytes) -> None:
    with pytest.raises(MalformedBlock, match=f"a reply: .*{WRONG_REPLIES[said]}"):
        parse_reply(said, 15)


def test_what_an_error_says_besides_its_name_is_made_plain() -> None:
    said = "ERR STORE gr\u00f6\u00dfer als \x1b[2J\n".encode()
    assert parse_reply(said, 18) == Err("STORE gr????er als ?[2J?")
    assert parse_reply(b'ERR BLOCKED reason=spam,notice={"ttl":1}', 18) == Err('BLOCKED reason=spam,notice={"ttl":1}')


@given(TRANSMISSIONS, SPOKEN)
def test_a_transmission_is_taken_apart(transmission: Transmission, version: int) -> None:
    assert Transmission.decode(transmission.encode(version), version) == transmission
    size = sum(map(len, (transmission.authorization, transmission.correlation_id, transmission.entity_id)))
    field = version >= 16 and bool(transmission.authorization)
    assert len(transmission.encode(version)) == 3 + field + size + len(transmission.command)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\1x\0\0PING", "a part of it has 1 bytes"),
        (b"\0\1x\0PING", "a part of it has 1 bytes"),
        (b"\0\0\1xPING", "a part of it has 1 bytes"),
        (b"\0\0", "cut short"),
        (b"\x40" + bytes(64) + b"1\0\0PING", "something stands where something else belongs"),
    ],
)
def test_what_is_no_transmission_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedBlock, match=f"a transmission: .*{reason}"):
        Transmission.decode(data, 18)


SIZES = st.lists(st.sampled_from([0, 1, 30, 8000, MAX_BLOCK_DATA - 3]) | st.integers(0, 9000), max_size=30)


def in_order(blocks: Iterable[bytes]) -> list[bytes]:
    return [part for block in blocks for part in split(block)]


@given(SIZES)
def test_transmissions_share_blocks_in_their_order(sizes: list[int]) -> None:
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    blocks = batches(iter(sent))
    assert in_order(blocks) == sent
    for block, following in pairwise(blocks):
        assert len(block) <= MAX_BLOCK_DATA < len(block) + 2 + len(split(following)[0])


def test_a_block_counts_to_255() -> None:
    blocks = batches([b"x"] * 600)
    assert [len(split(block)) for block in blocks] == [255, 255, 90]
    assert batches([]) == []


def test_a_transmission_too_large_for_a_block_is_refused() -> None:
    assert len(batches([bytes(MAX_BLOCK_DATA - 3)])[0]) == MAX_BLOCK_DATA
    with pytest.raises(ValueError, match="a transmission of 16364 bytes fits into no block"):
        batches([b"x", bytes(MAX_BLOCK_DATA - 2)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\0", "there is nothing in it"),
        (b"\1", "cut short"),
        (b"\1\0\2x", "cut short"),
        (b"\2\0\1x", "cut short"),
        (b"\1\0\1xy", "more than belongs there"),
    ],
)
def test_what_is_no_blocks_data_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedBlock, match=f"a block: .*{reason}"):
        split(data)


@given(
    private_keys(Kind.ED25519) | private_keys(Kind.X25519), private_keys(Kind.X25519), TRANSMISSIONS, IDS, st.data()
)
def test_an_authorization_is_checked_with_the_other_half_of_its_key(
    key: PrivateKey, server: PrivateKey, transmission: Transmission, correlation_id: bytes, data: st.DataObject
) -> None:
    transmission = replace(transmission, correlation_id=correlation_id)
    authorize = authorizer(key, server.public)
    assert isinstance(authorize, Signer if key.kind is Kind.ED25519 else Authenticator)
    authorized = authorize(transmission, SESSION_ID)
    assert len(authorized.authorization) == (64 if key.kind is Kind.ED25519 else AUTHENTICATOR_SIZE)
    assert replace(authorized, authorization=transmission.authorization) == transmission
    assert is_authorized(authorized, SESSION_ID, key.public, server)

    changed = bytearray(authorized.authorization)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for wrong in (
        replace(authorized, authorization=bytes(changed)),
        replace(authorized, authorization=bytes(changed[:-1])),
        replace(authorized, authorization=b""),
        replace(authorized, correlation_id=b""),
        replace(authorized, entity_id=authorized.entity_id[1:] + b"x" * 24),
        replace(authorized, command=authorized.command + b"x"),
    ):
        assert not is_authorized(wrong, SESSION_ID, key.public, server)
    assert not is_authorized(authorized, SESSION_ID[::-1], key.public, server)


@given(public_keys(Kind.ED25519, Kind.X25519), exactly(64) | exactly(80), TRANSMISSIONS)
def test_an_authorization_of_another_kind_is_none(
    key: PublicKey, authorization: bytes, transmission: Transmission
) -> None:
    assume((key.kind is Kind.ED25519) is (len(authorization) == 80))
    assert not is_authorized(replace(transmission, authorization=authorization), SESSION_ID, key, X25519)


@pytest.mark.parametrize("low", LOW_ORDER, ids=[key.hex()[:6] for key in LOW_ORDER])
def test_with_a_key_of_low_order_nothing_is_authorized(low: bytes) -> None:
    key = PublicKey(Kind.X25519, low)
    transmission = Transmission(ID, ID, b"SUB", bytes(80))
    assert not is_authorized(transmission, SESSION_ID, key, X25519)
    with pytest.raises(MalformedBlock, match="the server's hello: its key is of low order"):
        Authenticator(X25519, key)


def test_every_command_and_reply_has_its_own_tag() -> None:
    for module, union in ((commands, Command), (replies, Reply)):
        kinds = union.__args__
        assert len({kind.TAG for kind in kinds}) == len(kinds)
        assert all(kind.__module__ == module.__name__ for kind in kinds)
