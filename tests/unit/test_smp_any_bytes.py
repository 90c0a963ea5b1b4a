"""Whatever bytes arrive, they are understood or refused: no other exception leaves the language of SMP."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

import pytest
import smp_link_data
from hypothesis import given, settings
from hypothesis import strategies as st
from smp_meanings import information, message, recorded_body
from smp_strategies import SPOKEN, almost
from smp_transcript import BLOCKS, CONNECTIONS, KEY_HASH, KEYS, LINKS, THEN

from onion_rdv.errors import MalformedBlock, MessagingCheckFailed, MessagingVersionUnknown
from onion_rdv.smp.wire import (
    address,
    blocks,
    commands,
    connection_info,
    crypto,
    encoding,
    envelopes,
    hello,
    hsalsa,
    keys,
    link_data,
    replies,
    transmissions,
)
from onion_rdv.smp.wire.commands import LinkData, parse_command
from onion_rdv.smp.wire.crypto import KEY_SIZE, agreed_box_key, unseal_padded
from onion_rdv.smp.wire.encoding import pad
from onion_rdv.smp.wire.envelopes import Delivery, Envelope
from onion_rdv.smp.wire.hello import ClientHello, ServerHello, fingerprint
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.link_data import FIXED_SIZE, USER_SIZE, link_key, open_parts, seal_part
from onion_rdv.smp.wire.replies import Lnk, parse_reply
from onion_rdv.smp.wire.transmissions import Transmission, split

if TYPE_CHECKING:
    from types import ModuleType

MANY = settings(max_examples=400)

SAID = {
    from_client: sorted(
        {
            transmission.command
            for block in BLOCKS
            if block.from_client is from_client and not block.is_hello
            for transmission in CONNECTIONS[block.connection].transmissions(block)
        }
    )
    for from_client in (True, False)
}

RCPT = CONNECTIONS["v18.rcpt"]
SERVER_HELLOS = [connection.server_hello for connection in CONNECTIONS.values()]

ROOT = PrivateKey(Kind.ED25519, bytes(KEY_SIZE))
"""Signs what was changed, so that the signature is not what refuses it."""


@MANY
@given(almost([said.encode() for said in SERVER_HELLOS]) | st.binary(max_size=2000))
def test_server_hellos(data: bytes) -> None:
    try:
        said = ServerHello.decode(data)
    except (MalformedBlock, MessagingVersionUnknown):
        return
    assert said.encode() == data or said.versions.greatest > hello.VERSIONS.greatest
    try:
        said.check(
            key_hash=KEY_HASH,
            session_id=said.session_id,
            tls_certificate=said.certificates[0] if said.certificates else b"",
            now=THEN,
        )
    except MessagingCheckFailed:
        return


@MANY
@given(st.sampled_from(["leaf", "CA", "key"]), st.data())
def test_certificates_and_signed_keys(changed: str, data: st.DataObject) -> None:
    """Everything else in the hello is made to fit, so that the change is looked at, and not only noticed."""
    original = SERVER_HELLOS[0]
    leaf, ca = original.certificates
    signed_key = original.signed_key
    if changed == "leaf":
        leaf = data.draw(almost([leaf]))
    elif changed == "CA":
        ca = data.draw(almost([ca]))
    else:
        signed_key = data.draw(almost([signed_key]))
    said = ServerHello(original.versions, original.session_id, (leaf, ca), signed_key)
    try:
        key = said.check(key_hash=fingerprint(ca), session_id=said.session_id, tls_certificate=leaf, now=THEN)
    except MessagingCheckFailed:
        return
    assert key == RCPT.server_key
    assert leaf == original.certificates[0]


@MANY
@given(almost([connection.client_hello.encode() for connection in CONNECTIONS.values()]) | st.binary(max_size=100))
def test_client_hellos(data: bytes) -> None:
    try:
        said = ClientHello.decode(data)
    except MalformedBlock:
        return
    # A proxy says so, and is served as any other client.
    assert said.encode() in {data, data.replace(b"T", b"F")}


@MANY
@given(almost([block.data for block in BLOCKS if not block.is_hello]) | st.binary(max_size=2000), SPOKEN)
def test_blocks_transmissions_and_what_is_in_them(data: bytes, version: int) -> None:
    try:
        parts = split(data)
        taken = [Transmission.decode(part, version) for part in parts]
    except MalformedBlock:
        return
    assert transmissions.batches([one.encode(version) for one in taken]) == [data]
    for one in taken:
        for parse in (parse_command, parse_reply):
            try:
                parse(one.command, version)
            except MalformedBlock:
                continue


@MANY
@given(almost(SAID[True]) | st.binary(max_size=2000), SPOKEN)
def test_commands(data: bytes, version: int) -> None:
    try:
        command = parse_command(data, version)
    except MalformedBlock:
        return
    assert command.encode(version) == data


@MANY
@given(almost(SAID[False]) | st.binary(max_size=2000), SPOKEN)
def test_replies(data: bytes, version: int) -> None:
    try:
        reply = parse_reply(data, version)
    except MalformedBlock:
        return
    if not isinstance(reply, replies.Err | replies.Sok):
        assert reply.encode(version) == data
    else:
        reply.encode(version)


@dataclass(frozen=True)
class Opened:
    """A recorded link, and its two parts."""

    is_invitation: bool
    sender_id: bytes
    fixed: bytes
    user: bytes


def _opened() -> list[Opened]:
    taken = []
    for connection, step, uri in (
        ("v18.sndr", "LGET-resp", "contact_uri"),
        ("hs-py-inv", "LKEY-resp", "hs_inv"),
        ("hs-py-invpq", "LKEY-resp", "hs_invpq"),
    ):
        (lnk,) = CONNECTIONS[connection].replies(step)
        assert isinstance(lnk, Lnk)
        link = LINKS[uri]
        under = smp_link_data.secret(link.link_key, is_invitation=link.is_one_time)
        parts = open_parts(link.link_key, under, lnk.data)
        # In the root key's place stands ours.
        root = information(link, lnk).root_key
        fixed = parts.fixed.data.replace(root.raw, ROOT.public.raw)
        taken.append(Opened(link.is_one_time, lnk.sender_id, fixed, parts.user.data))
    return taken


OPENED = _opened()


@MANY
@given(st.sampled_from(OPENED), st.booleans(), st.booleans(), st.data())
def test_link_data(original: Opened, change_fixed: bool, change_user: bool, data: st.DataObject) -> None:
    fixed = data.draw(almost([original.fixed])) if change_fixed else original.fixed
    user = data.draw(almost([original.user])) if change_user else original.user
    key = link_key(fixed)
    sealed = smp_link_data.sealed(fixed, user, ROOT, is_invitation=original.is_invitation)
    parts = open_parts(key, smp_link_data.secret(key, is_invitation=original.is_invitation), sealed)
    try:
        info = connection_info.read_connection_info(parts, original.sender_id, is_invitation=original.is_invitation)
    except MessagingCheckFailed:
        assert change_fixed or change_user
        return
    assert info.root_key == ROOT.public


@given(almost([bytes(FIXED_SIZE), smp_link_data.sealed(b"x", b"y", ROOT, is_invitation=True).fixed]), st.booleans())
def test_sealed_link_data(part: bytes, fits: bool) -> None:
    key = link_key(b"x")
    under = smp_link_data.secret(key, is_invitation=True)
    good = smp_link_data.sealed(b"x", b"y", ROOT, is_invitation=True)
    if fits and len(part) <= USER_SIZE - 67:
        data = LinkData(good.fixed, seal_part(under, bytes(24), ROOT, part, USER_SIZE))
        assert open_parts(key, under, data).user.data == part
        return
    try:
        open_parts(key, under, LinkData(part, good.user))
    except MessagingCheckFailed:
        return
    assert part == good.fixed


DELIVERY_KEY = agreed_box_key(KEYS["contact.rcvDh"].raw, RCPT.ids("NEW-contact").server_key.raw, "a test")
DELIVERED = message(RCPT, "MSG")
PLAIN = unseal_padded(DELIVERY_KEY, DELIVERED.message_id, DELIVERED.body, "a test")
QUOTA = b"QUOTA " + bytes(8)


@MANY
@given(almost([PLAIN, QUOTA, pad(PLAIN, 16_106)]), st.booleans())
def test_deliveries(changed: bytes, is_padded: bool) -> None:
    # What stands in the box, its length included, is up to the server; so is the size of the box.
    inner = changed if is_padded else pad(changed[:16_000], 16_106)
    box = crypto.seal(DELIVERY_KEY, DELIVERED.message_id, inner)
    try:
        Delivery.open(DELIVERY_KEY, DELIVERED.message_id, box)
    except MalformedBlock:
        return


@MANY
@given(almost([DELIVERED.body, b""]), almost([DELIVERED.message_id]))
def test_boxes_and_ids_of_deliveries(box: bytes, message_id: bytes) -> None:
    try:
        Delivery.open(DELIVERY_KEY, message_id, box)
    except MalformedBlock:
        return
    assert (box, message_id) == (DELIVERED.body, DELIVERED.message_id)


SENDER, RECIPIENT = KEYS["env.16"], KEYS["contact.e2eDh"]
ENVELOPES = [
    Envelope(b"text").seal(SENDER, RECIPIENT.public, bytes(24)),
    Envelope(b"text", KEYS["contact.sndKey"].public).seal(SENDER, RECIPIENT.public, bytes(24)),
    recorded_body(CONNECTIONS["hs-py-contact"], "SEND"),
]


@MANY
@given(almost(ENVELOPES) | st.binary(max_size=200), st.booleans())
def test_envelopes(body: bytes, sender_is_known: bool) -> None:
    try:
        Envelope.open(body, RECIPIENT, SENDER.public if sender_is_known else None)
    except MalformedBlock:
        return


@MANY
@given(almost([b"_text", b"K" + encoding.short(KEYS["contact.sndKey"].public.encode()) + b"text"]))
def test_what_is_in_envelopes(inner: bytes) -> None:
    key = agreed_box_key(SENDER.raw, RECIPIENT.public.raw, "a test")
    body = b"\0\4" + b"0" + bytes(24) + crypto.seal_padded(key, bytes(24), inner, 15_904)
    try:
        Envelope.open(body, RECIPIENT, SENDER.public)
    except MalformedBlock:
        return


@given(st.binary(max_size=100) | almost([bytes(blocks.BLOCK_SIZE), bytes(40) + bytes([255]) * 16_344]))
def test_blocks(block: bytes) -> None:
    for side in (blocks.PlainBlocks(), RCPT.client_side()):
        try:
            side.open(block)
        except MalformedBlock:
            continue


MODULES: list[ModuleType] = [
    address, blocks, commands, connection_info, crypto, encoding, envelopes,
    hello, hsalsa, keys, link_data, replies, transmissions,
]  # fmt: skip

SECRET = {
    "authorization",
    "body",
    "command",
    "data",
    "fixed",
    "json",
    "message",
    "password",
    "profile",
    "signature",
    "user",
}
"""What fields are called that may hold something secret."""


def test_no_field_that_may_be_secret_is_shown() -> None:
    shown = {
        (kind.__name__, field.name)
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and is_dataclass(kind)
        for field in fields(kind)
        if field.repr and field.name in SECRET and not kind.__name__.startswith("_")
    }
    # The first hold fields that show nothing themselves; what a server says of a queue names no key and no text.
    assert shown == {
        ("QueueLink", "data"),
        ("LinkSet", "data"),
        ("Lnk", "data"),
        ("LinkParts", "fixed"),
        ("LinkParts", "user"),
        ("Info", "json"),
    }


CARRIED = LinkData(b"secret", b"secret")
X25519 = KEYS["plain.rcvDh"].public


@pytest.mark.parametrize(
    "one",
    [
        Transmission(b"", b"", b"secret", b"secret"),
        commands.New(X25519, X25519, commands.Mode.MESSAGING, b"secret", link=commands.QueueLink(bytes(24), CARRIED)),
        commands.LinkSet(bytes(24), CARRIED),
        commands.Send(b"secret"),
        Lnk(bytes(24), CARRIED),
        replies.Msg(bytes(24), b"secret"),
        Delivery(0, b"secret"),
        Envelope(b"secret"),
        link_data.ContactKeys(b"secret", b"secret"),
        link_data.LinkParts(link_data.SignedPart(b"secret", b"secret"), link_data.SignedPart(b"secret", b"secret")),
        address.SmpServer(bytes(32), ("smp.example",), password="secret"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_is_carried_does_not_show(one: object) -> None:
    assert "secret" not in repr(one) + str(one)


@pytest.mark.parametrize("kind", [Kind.ED25519, Kind.X25519])
def test_helpers_that_hold_keys_do_not_show_them(kind: Kind) -> None:
    key = PrivateKey(kind, b"0123456789abcdefghijklmnopqrstuv")
    holders = [key, transmissions.authorizer(key, RCPT.server_key), RCPT.client_side(), RCPT.server_side()]
    assert [holder for holder in holders if "0123456789" in repr(holder)] == []
