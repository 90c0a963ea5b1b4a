"""Every block of a conversation with a real server: opened and understood, or said again to the byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
import smp_link_data
from smp_authorization import is_authorized
from smp_meanings import MEANINGS, RCPT, information, message, recorded_body, recorded_data
from smp_transcript import BLOCKS, CONNECTIONS, KEY_HASH, KEYS, LINKS, PUBLIC_HEX, THEN, Block, Connection

from onion_rdv.errors import LinkDataRefused, MalformedBlock
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, PlainBlocks
from onion_rdv.smp.wire.commands import LinkData, UnknownCommand, parse_command
from onion_rdv.smp.wire.crypto import agreed_box_key
from onion_rdv.smp.wire.encoding import Versions
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.hello import ClientHello
from onion_rdv.smp.wire.keys import Kind
from onion_rdv.smp.wire.link_data import contact_keys, open_parts, sender_id
from onion_rdv.smp.wire.replies import End, Err, Ids, Info, Lnk, Msg, Ok, Pong, Reply, Sok, parse_reply
from onion_rdv.smp.wire.transmissions import Transmission, authorizer, batches

if TYPE_CHECKING:
    from onion_rdv.protocol.short_link import ShortLink

QUEUE_INFO: Final = b'{"qiSub":{"qSubThread":"noSub"},"qiSnd":true,"qiNtf":false,"qiSize":0}'

AUTH: Final = Err("AUTH")

ANSWERS: Final[dict[str, Reply | type[Reply]]] = {
    "PING-resp": Pong(),
    "QUE-resp": Info(QUEUE_INFO),
    "END": End(),
    "SUB-resp": Sok(),
    "ACK-again-resp": Err("NO_MSG"),
    "SEND-too-large-resp": Err("LARGE_MSG"),
    "NEW-bad-sndId-resp": Err("CMD PROHIBITED"),
    "unknown-cmd-resp": Err("CMD UNKNOWN"),
    "bad-NEW-resp": Err("CMD SYNTAX"),
    "NEW-noauth-resp": Err("CMD NO_AUTH"),
    "PING-auth-resp": Err("CMD HAS_AUTH"),
    **dict.fromkeys(("NEW-resp", "NEW-contact-resp", "NEW-link-resp"), Ids),
    **dict.fromkeys(("LGET-resp", "LGET-after-LSET-resp", "LKEY-resp", "LKEY-again-resp"), Lnk),
    **dict.fromkeys(("LGET-unknown-resp", "LGET-after-LDEL-resp", "LGET-refused-resp", "LKEY-other-resp"), AUTH),
    **dict.fromkeys(("SEND-unauth-resp", "SEND-after-OFF-resp", "SEND-after-DEL-resp", "DEL-badsig-resp"), AUTH),
    **dict.fromkeys(("SKEY-on-contact-resp", "RKEY-resp", "OFF-resp"), AUTH),
    "MSG#2": Msg,
    "GET-resp": Msg,
}
"""What the server said in steps of these names; in all others it said that it was done, but for:"""

ELSEWHERE: Final[dict[str, list[Reply | type[Reply]]]] = {
    "v18.rcpt:batch-resp": [Pong(), Pong()],
    **{f"v18.rcpt:inv-{kind}.SUB-resp": [Sok(), Msg] for kind in ("ed25519", "x25519")},
    **{f"v18.rcpt:inv-{kind}.ACK-resp": [Msg] for kind in ("ed25519", "x25519")},
    **{f"v18.rcpt:inv-{kind}.DEL-resp": [AUTH] for kind in ("ed25519", "x25519")},
    # To a client that is both ends of a queue the message came before the answer to its SEND.
    **{f"{name}:{step}-resp": [Msg] for name in ("v15", "v18.nokey") for step in ("SEND", "SEND2")},
    **{name: [Msg] for name in ("v18.rcpt:MSG", "v18.rcpt:nomode.MSG", "py-hs-a:MSG", "py-hs-i:MSG")},
}

DELIVERED: Final = {
    ("v18.rcpt", "MSG"): ("NEW-contact", "contact.rcvDh", recorded_body(CONNECTIONS["v18.sndr"], "SEND-anon")),
    ("v18.rcpt", "inv-ed25519.SUB-resp"): ("inv-ed25519.NEW", "inv-ed25519.rcvDh", b"hi there"),
    ("v18.rcpt", "inv-ed25519.ACK-resp"): ("inv-ed25519.NEW", "inv-ed25519.rcvDh", b"second"),
    ("v18.rcpt", "inv-x25519.SUB-resp"): ("inv-x25519.NEW", "inv-x25519.rcvDh", b"hi there"),
    ("v18.rcpt", "inv-x25519.ACK-resp"): ("inv-x25519.NEW", "inv-x25519.rcvDh", b"second"),
    ("v18.rcpt", "plain.GET-resp"): ("plain.NEW", "plain.rcvDh", b"for GET"),
    ("v18.rcpt", "nomode.MSG"): ("nomode.NEW", "plain.rcvDh", b"key test"),
    ("v15", "SEND-resp"): ("NEW", "v15.rcvDh", b"test body"),
    ("v15", "SEND2-resp"): ("NEW", "v15.rcvDh", b"waiting"),
    ("v18.nokey", "SEND-resp"): ("NEW", "v18.nokey.rcvDh", b"test body"),
    ("v18.nokey", "SEND2-resp"): ("NEW", "v18.nokey.rcvDh", b"waiting"),
    ("py-hs-a", "MSG"): ("NEW", "py-hs-a.rcvDh", b"from haskell, unauth"),
    ("py-hs-a", "MSG#2"): ("NEW", "py-hs-a.rcvDh", b"from haskell, unauth"),
    ("py-hs-i", "MSG"): ("NEW", "py-hs-i.rcvDh", b"from haskell, auth X25519"),
}
"""The messages: the step that made their queue, the recipient's key for their boxes, and what the sender sent."""

OPENED: Final = {
    ("v18.sndr", "LGET-resp"): ("contact_uri", "hello from a test contact link"),
    ("v18.sndr", "LGET-after-LSET-resp"): ("contact_uri_https", "changed"),
    ("v18.sndr", "inv-ed25519.LKEY-resp"): ("inv-ed25519_uri", "test 1-time data"),
    ("v18.sndr", "inv-ed25519.LKEY-again-resp"): ("inv-ed25519_uri", "test 1-time data"),
    ("v18.sndr", "inv-x25519.LKEY-resp"): ("inv-x25519_uri", "test 1-time data"),
    ("v18.sndr", "inv-x25519.LKEY-again-resp"): ("inv-x25519_uri", "test 1-time data"),
    ("hs-py-contact", "LGET-resp"): ("hs_contact", "haskell contact user data"),
    ("hs-py-inv", "LKEY-resp"): ("hs_inv", "haskell invitation user data"),
    ("hs-py-invpq", "LKEY-resp"): ("hs_invpq", "haskell invitation user data"),
}
"""What links led to: the link, and what its maker shows."""

HELLOS = [block for block in BLOCKS if block.is_hello]
SENT = [block for block in BLOCKS if block.from_client and not block.is_hello]
RECEIVED = [block for block in BLOCKS if not block.from_client and not block.is_hello]


def names(blocks: list[Block]) -> list[str]:
    return [block.name for block in blocks]


def assert_is_on_the_wire(block: Block, on_the_wire: bytes) -> None:
    assert len(on_the_wire) == BLOCK_SIZE
    assert on_the_wire.startswith(block.head)
    assert hashlib.sha256(on_the_wire).hexdigest() == block.sha256


def expected(block: Block) -> list[Reply | type[Reply]]:
    if block.name in ELSEWHERE:
        return ELSEWHERE[block.name]
    return [ANSWERS.get(block.step.rpartition(".")[2], Ok())]


def lnk(connection: Connection, step: str) -> Lnk:
    (reply,) = connection.replies(step)
    assert isinstance(reply, Lnk)
    return reply


def test_all_is_told() -> None:
    assert set(MEANINGS) == set(names(SENT))
    assert len({block.name for block in BLOCKS}) == len(BLOCKS) == 236
    assert len(CONNECTIONS) == len(HELLOS) / 2 == 10
    with_message = {
        (block.connection, block.step) for block in RECEIVED if any(reply is Msg for reply in expected(block))
    }
    assert with_message == set(DELIVERED)


@pytest.mark.parametrize("name", KEYS)
def test_public_keys_are_those_of_the_private_ones(name: str) -> None:
    assert KEYS[name].public.raw.hex() == PUBLIC_HEX[name]


@pytest.mark.parametrize("block", HELLOS, ids=names(HELLOS))
def test_a_hello_is_what_was_on_the_wire(block: Block) -> None:
    connection = CONNECTIONS[block.connection]
    on_the_wire = connection.seal(block, block.data)
    assert_is_on_the_wire(block, on_the_wire)
    assert PlainBlocks().open(on_the_wire) == block.data


@pytest.mark.parametrize("name", CONNECTIONS)
def test_the_server_shows_who_it_is(name: str) -> None:
    connection = CONNECTIONS[name]
    hello = connection.server_hello
    assert hello.encode() == connection.block("server-handshake").data
    assert (hello.versions, hello.version, len(hello.certificates)) == (Versions(6, 18), 18, 2)
    leaf = hello.certificates[0]
    key = hello.check(key_hash=KEY_HASH, session_id=connection.session_id, tls_certificate=leaf, now=THEN)
    assert key.kind is Kind.X25519


@pytest.mark.parametrize("name", CONNECTIONS)
def test_the_clients_hello_is_said_again(name: str) -> None:
    connection = CONNECTIONS[name]
    key = None if connection.session_key is None else connection.session_key.public
    hello = ClientHello(15 if name == "v15" else 18, KEY_HASH, key)
    assert hello.encode() == connection.block("client-handshake").data
    assert connection.client_hello == hello
    assert (key is None) is (name == "v18.nokey")


@pytest.mark.parametrize("block", SENT, ids=names(SENT))
def test_what_the_client_said_is_said_again(block: Block) -> None:
    connection = CONNECTIONS[block.connection]
    made = []
    for recorded, said in zip(connection.transmissions(block), MEANINGS[block.name], strict=True):
        command = said.command if isinstance(said.command, bytes) else said.command.encode(connection.version)
        again = Transmission(recorded.correlation_id, said.entity, command)
        if said.key is not None:
            again = authorizer(KEYS[said.key], connection.server_key)(again, connection.session_id)
        assert again == recorded
        made.append(again.encode(connection.version))
    (data,) = batches(made)
    on_the_wire = connection.seal(block, data)
    assert_is_on_the_wire(block, on_the_wire)
    assert connection.open(block, on_the_wire) == data == block.data


@pytest.mark.parametrize("block", SENT, ids=names(SENT))
def test_what_the_client_said_is_understood(block: Block) -> None:
    connection = CONNECTIONS[block.connection]
    for recorded, said in zip(connection.transmissions(block), MEANINGS[block.name], strict=True):
        if isinstance(said.command, bytes):
            with pytest.raises(MalformedBlock) as caught:
                parse_command(recorded.command, connection.version)
            assert isinstance(caught.value, UnknownCommand) is not said.command.startswith(b"NEW")
        else:
            assert parse_command(recorded.command, connection.version) == said.command


AUTHORIZED = [block for block in SENT if MEANINGS[block.name][0].key]


@pytest.mark.parametrize("block", AUTHORIZED, ids=names(AUTHORIZED))
def test_an_authorization_is_good_for_its_key_and_command_alone(block: Block) -> None:
    connection = CONNECTIONS[block.connection]
    (recorded,) = connection.transmissions(block)
    key = KEYS[MEANINGS[block.name][0].key or ""]
    session_id = connection.session_id
    if key.kind is Kind.X25519:
        # The server's private key is not known; what both pairs agree on is the same from the other side.
        checked, session_key, other = connection.server_key, key, KEYS["plain.rcvDh"].public
    else:
        checked, session_key, other = key.public, KEYS["plain.rcvDh"], KEYS["v15.root"].public
    assert is_authorized(recorded, session_id, checked, session_key)
    for changed in (
        replace(recorded, command=recorded.command + b" "),
        replace(recorded, entity_id=recorded.entity_id[::-1] + b" "),
        replace(recorded, correlation_id=recorded.correlation_id[::-1]),
        replace(recorded, authorization=recorded.authorization[::-1]),
        replace(recorded, authorization=b""),
    ):
        assert not is_authorized(changed, session_id, checked, session_key)
    assert not is_authorized(recorded, session_id[::-1], checked, session_key)
    assert not is_authorized(recorded, session_id, other, session_key)


def test_a_signature_by_another_key_is_noticed() -> None:
    (recorded,) = RCPT.transmissions(RCPT.block("DEL-badsig"))
    assert not is_authorized(recorded, RCPT.session_id, KEYS["contact.rcvAuth"].public, KEYS["plain.rcvDh"])
    assert is_authorized(recorded, RCPT.session_id, KEYS["contact.linkRoot"].public, KEYS["plain.rcvDh"])


@pytest.mark.parametrize("block", RECEIVED, ids=names(RECEIVED))
def test_what_the_server_said_is_opened_and_understood(block: Block) -> None:
    connection = CONNECTIONS[block.connection]
    on_the_wire = connection.seal(block, block.data)
    assert_is_on_the_wire(block, on_the_wire)
    assert connection.open(block, on_the_wire) == block.data
    taken = connection.transmissions(block)
    assert batches([transmission.encode(connection.version) for transmission in taken]) == [block.data]
    for transmission, said in zip(taken, expected(block), strict=True):
        assert transmission.authorization == b""
        reply = parse_reply(transmission.command, connection.version)
        assert type(reply) is said if isinstance(said, type) else reply == said
        assert reply.encode(connection.version) == transmission.command


@pytest.mark.parametrize("block", RECEIVED, ids=names(RECEIVED))
def test_answers_name_what_they_answer(block: Block) -> None:
    connection = CONNECTIONS[block.connection]
    asked = {
        transmission.correlation_id: transmission.entity_id
        for sent in connection.blocks
        if sent.from_client and not sent.is_hello
        for transmission in connection.transmissions(sent)
    }
    for transmission, said in zip(connection.transmissions(block), expected(block), strict=True):
        if transmission.correlation_id:
            assert asked[transmission.correlation_id] == transmission.entity_id
        else:
            assert said in (Msg, End())


@pytest.mark.parametrize(("name", "step"), DELIVERED)
def test_a_message_is_opened_and_sealed_again(name: str, step: str) -> None:
    connection = CONNECTIONS[name]
    made_by, dh_key, body = DELIVERED[name, step]
    msg = message(connection, step)
    key = agreed_box_key(KEYS[dh_key].raw, connection.ids(made_by).server_key.raw, "a test")
    delivery = Delivery.open(key, msg.message_id, msg.body)
    assert (delivery.body, delivery.notify) == (body, step == "MSG" and name == "v18.rcpt")
    assert abs(delivery.sent_at - THEN.timestamp()) < 7 * 86400
    assert delivery.seal(key, msg.message_id) == msg.body


@pytest.mark.parametrize(("name", "step"), OPENED)
def test_what_a_link_leads_to(name: str, step: str) -> None:
    link_name, shown = OPENED[name, step]
    link: ShortLink = LINKS[link_name]
    answer = lnk(CONNECTIONS[name], step)
    assert link.key_hash == KEY_HASH
    info = information(link, answer)
    assert info.profile.decode() == shown
    assert (info.is_invitation, info.is_direct, info.relays) == (link.is_one_time, True, 0)
    assert info.agent_versions == smp_link_data.AGENT_VERSIONS
    (queue,) = info.queues
    assert (queue.hosts, queue.port) == (link.hosts, str(link.port))
    assert (queue.key_hash, queue.sender_id) == (KEY_HASH, answer.sender_id)


@pytest.mark.parametrize(("name", "step"), OPENED)
def test_link_data_opens_with_its_own_key_alone(name: str, step: str) -> None:
    link = LINKS[OPENED[name, step][0]]
    data = lnk(CONNECTIONS[name], step).data
    under = smp_link_data.secret(link.link_key, is_invitation=link.is_one_time)
    changed = bytes([data.fixed[-1] ^ 1])
    for key, secret, wrong in (
        (link.link_key[::-1], under, data),
        (link.link_key, smp_link_data.secret(link.link_key, is_invitation=not link.is_one_time), data),
        (link.link_key, under, LinkData(data.user, data.fixed)),
        (link.link_key, under, LinkData(data.fixed[:-1] + changed, data.user)),
    ):
        with pytest.raises(LinkDataRefused):
            open_parts(key, secret, wrong)


@pytest.mark.parametrize(
    ("uri", "name", "step"),
    [
        ("contact_uri", "v18.rcpt", "NEW-contact"),
        ("py_a_simplex", "py-hs-a", "NEW"),
        ("inv-ed25519_uri", "v18.rcpt", "inv-ed25519.NEW"),
        ("inv-x25519_uri", "v18.rcpt", "inv-x25519.NEW"),
        ("py_i_https", "py-hs-i", "NEW"),
    ],
)
def test_what_a_link_and_its_queue_are_called(uri: str, name: str, step: str) -> None:
    link, connection = LINKS[uri], CONNECTIONS[name]
    ids = connection.ids(step)
    assert ids.link_id == (link.link_id or contact_keys(link.link_key).link_id)
    assert ids.sender_id == sender_id(connection.transmissions(connection.block(step))[0].correlation_id)


def test_links_that_simplex_read_open_here_too() -> None:
    for uri, name, shown in (
        ("py_a_https", "py-hs-a", b"py contact"),
        ("py_i_https", "py-hs-i", b"py invitation ".ljust(314, b"x")),
    ):
        connection = CONNECTIONS[name]
        answer = Lnk(connection.ids("NEW").sender_id, recorded_data(connection, "NEW"))
        assert information(LINKS[uri], answer).profile == shown


def test_what_the_server_says_of_a_queue_is_json() -> None:
    (info,) = RCPT.replies("QUE-resp")
    assert isinstance(info, Info)
    assert json.loads(info.json)["qiSize"] == 0
