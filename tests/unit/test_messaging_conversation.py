"""The messaging server and its clients: what they may do, and what each gets, over TLS on a Unix socket."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from smp_server import Client, TestQueue, make_link, running
from stores import Clock

from onion_rdv.errors import StoreError
from onion_rdv.smp.server.queue_store import QueueStore
from onion_rdv.smp.server.queues import QUOTA, Message, Party, Queue, Sent
from onion_rdv.smp.wire.commands import (
    MAX_BODY_SIZE,
    Ack,
    Command,
    Delete,
    Get,
    Key,
    LinkData,
    LinkDelete,
    LinkGet,
    LinkKey,
    LinkSet,
    Mode,
    New,
    Off,
    Ping,
    Que,
    QueueLink,
    RecipientKeys,
    Send,
    SenderKey,
    Sub,
)
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.link_data import sender_id
from onion_rdv.smp.wire.replies import Deleted, End, Err, Ids, Info, Lnk, Msg, Ok, Pong, Reply, Sok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smp_server import Running

AUTH = Err("AUTH")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server


@asynccontextmanager
async def clients(server: Running, *versions: int) -> AsyncIterator[list[Client]]:
    connected = [await server.connect(version) for version in versions]
    yield connected
    for client in connected:
        await client.close()


def a_key(kind: Kind = Kind.X25519) -> PrivateKey:
    return PrivateKey(kind, secrets.token_bytes(32))


# Messages


@pytest.mark.parametrize("version", [15, 16, 17, 18])
@pytest.mark.parametrize("kind", [Kind.ED25519, Kind.X25519])
async def test_messages_come_in_order_one_at_a_time(server: Running, version: int, kind: Kind) -> None:
    async with clients(server, version, 18) as (one, other):
        queue = await TestQueue.make(one, kind=kind)
        key = a_key(kind)
        assert await other.ask(SenderKey(key.public), queue.ids.sender_id, key) == Ok()
        for body in (b"first", b"", b"x" * MAX_BODY_SIZE):
            assert await other.ask(Send(body), queue.ids.sender_id, key) == Ok()
        said, reply = await one.hear()
        assert (said.correlation_id, said.entity_id) == (b"", queue.ids.recipient_id)
        assert queue.open(reply) == b"first"
        reply = await queue.acknowledge(one, reply)  # which brings the next
        assert queue.open(reply) == b""
        reply = await queue.acknowledge(one, reply)
        assert queue.open(reply) == b"x" * MAX_BODY_SIZE
        assert await queue.acknowledge(one, reply) == Ok()
        assert await other.ask(Send(b"later"), queue.ids.sender_id, key) == Ok()
        assert await queue.hear(one) == b"later"


async def test_a_message_has_its_time_and_flag(tmp_path: Path) -> None:
    clock = Clock()
    clock.now += 0.9
    async with running(tmp_path, clock=clock) as server, clients(server, 18, 18) as (one, other):
        queue = await TestQueue.make(one)
        for notify in (True, False):
            await other.ask(Send(b"hi", notify), queue.ids.sender_id)
            _, reply = await one.hear()
            assert isinstance(reply, Msg)
            opened = Delivery.open(queue.box_key, reply.message_id, reply.body)
            assert opened == Delivery(int(clock.now), b"hi", notify)
            await queue.acknowledge(one, reply)


async def test_messages_wait_for_a_subscription(server: Running) -> None:
    async with clients(server, 18, 18, 16) as (one, other, later):
        queue = await TestQueue.make(one, subscribe=False)
        for body in (b"one", b"two"):
            assert await queue.send(other, body) == Ok()
        assert await queue.subscribe(later) == Sok()
        assert len(later.said) == 1, "the message is in the same block"
        assert await one.ask(Ping()) == Pong()
        _, reply = await later.hear()
        assert queue.open(reply) == b"one"
        # What was not acknowledged comes again.
        assert await queue.subscribe(later) == Sok()
        _, again = await later.hear()
        assert again == reply
        assert await later.ask(Ack(bytes(24)), queue.ids.recipient_id, queue.key) == Err("NO_MSG")
        reply = await queue.acknowledge(later, reply)
        assert queue.open(reply) == b"two"
        assert await queue.acknowledge(later, reply) == Ok()
        assert await later.ask(Ack(b""), queue.ids.recipient_id, queue.key) == Err("NO_MSG")


async def test_another_subscription_ends_the_one_before(server: Running) -> None:
    async with clients(server, 18, 15, 18) as (one, other, sender):
        queue = await TestQueue.make(one)
        await queue.send(sender, b"before")
        _, unacknowledged = await one.hear()
        assert await queue.subscribe(other) == Ok()  # as version 15 has it
        said, reply = await one.hear()
        assert (said.correlation_id, said.entity_id, reply) == (b"", queue.ids.recipient_id, End())
        _, reply = await other.hear()
        assert reply == unacknowledged
        assert await queue.acknowledge(one, unacknowledged) == Err("NO_MSG")
        await queue.acknowledge(other, reply)
        await queue.send(sender, b"after")
        assert await queue.hear(other) == b"after"
        assert await one.ask(Ping()) == Pong()
        await other.close()
        await queue.send(sender, b"nobody there")
        assert await queue.subscribe(one) == Sok()
        assert await queue.hear(one) == b"nobody there"


async def test_getting_messages_without_a_subscription(server: Running) -> None:
    async with clients(server, 18, 18) as (one, sender):
        queue = await TestQueue.make(one, subscribe=False)
        assert await queue.get(one) == Ok()
        for body in (b"one", b"two"):
            await queue.send(sender, body)
        reply = await queue.get(one)
        assert queue.open(reply) == b"one"
        assert await queue.get(one) == reply
        assert await queue.subscribe(one) == Err("CMD PROHIBITED")
        assert await queue.acknowledge(one, reply) == Ok()  # the next has to be asked for
        assert queue.open(await queue.get(one)) == b"two"
        subscribed = await TestQueue.make(one)
        assert await subscribed.get(one) == Err("CMD PROHIBITED")


async def test_a_full_queue(server: Running) -> None:
    async with clients(server, 18, 18) as (one, sender):
        queue = await TestQueue.make(one, subscribe=False)
        for number in range(QUOTA):
            assert await queue.send(sender, str(number).encode()) == Ok()
        for _ in range(2):
            assert await queue.send(sender, b"too much") == Err("QUOTA")
        info = await one.ask(Que(), queue.ids.recipient_id, queue.key)
        assert isinstance(info, Info)
        assert json.loads(info.json)["qiSize"] == QUOTA + 1
        assert await queue.subscribe(one) == Sok()
        _, reply = await one.hear()
        for number in range(QUOTA):
            assert queue.open(reply) == str(number).encode()
            assert await queue.send(sender, b"still too much") == Err("QUOTA")
            reply = await queue.acknowledge(one, reply)
        info = await one.ask(Que(), queue.ids.recipient_id, queue.key)
        assert isinstance(info, Info)
        assert json.loads(info.json)["qiMsg"]["msgType"] == "quota"
        assert queue.open(reply) is None
        assert await queue.acknowledge(one, reply) == Ok()
        assert await queue.send(sender, b"again") == Ok()
        assert await queue.hear(one) == b"again"


async def test_too_much_for_one_message(server: Running) -> None:
    async with clients(server, 18) as (one,):
        queue = await TestQueue.make(one)
        assert await queue.send(one, bytes(MAX_BODY_SIZE + 1)) == Err("LARGE_MSG")
        assert await one.ask(Send(bytes(MAX_BODY_SIZE + 1)), bytes(24)) == AUTH


async def test_what_is_known_of_a_queue(server: Running) -> None:
    async with clients(server, 18) as (one,):
        queue = await TestQueue.make(one)

        async def info() -> Any:
            reply = await one.ask(Que(), queue.ids.recipient_id, queue.key)
            assert isinstance(reply, Info)
            return json.loads(reply.json)

        assert await info() == {"qiSnd": False, "qiNtf": False, "qiSize": 0, "qiSub": {"qSubThread": "noSub"}}
        asked = one.transmission(Send(b"x"), queue.ids.sender_id)
        one.say(asked)
        _, reply = await one.hear()  # the message is faster than the answer to a client that is both ends
        assert isinstance(reply, Msg)
        assert (await one.hear())[1] == Ok()
        told = await info()
        assert told["qiSub"]["qDelivered"] == told["qiMsg"]["msgId"]
        assert told["qiMsg"]["msgType"] == "message"
        assert told["qiMsg"]["msgTs"].endswith("Z")
        assert told["qiSize"] == 1


# Who may


async def test_strangers_get_nothing(server: Running) -> None:
    data = LinkData(b"fixed", b"user")
    async with clients(server, 18, 18) as (one, stranger):
        for kind in (Kind.ED25519, Kind.X25519):
            queue = await TestQueue.make(one, kind=kind)
            commands: list[Command] = [
                Sub(),
                Get(),
                Ack(bytes(24)),
                Key(a_key().public),
                RecipientKeys((a_key().public,)),
                LinkSet(bytes(24), data),
                LinkDelete(),
                Off(),
                Que(),
                Delete(),
            ]
            for command in commands:
                for entity in (queue.ids.recipient_id, queue.ids.sender_id, bytes(24)):
                    for key in (a_key(Kind.ED25519), a_key(Kind.X25519)):
                        assert await stranger.ask(command, entity, key) == AUTH
            assert await queue.send(stranger, b"still there") == Ok()
            assert await queue.hear(one) == b"still there"


async def test_an_authorization_is_good_once_and_for_one_thing(server: Running) -> None:
    async with clients(server, 18, 18) as (one, other):
        queue = await TestQueue.make(one)
        good = one.transmission(Off(), queue.ids.recipient_id, queue.key)
        for client, changed in (
            (other, good),  # another session
            (one, one.transmission(Delete(), queue.ids.recipient_id)),
            (one, one.transmission(Off(), queue.ids.sender_id)),
        ):
            forged = type(good)(changed.correlation_id, changed.entity_id, changed.command, good.authorization)
            client.say(forged)
            assert (await client.hear())[1] == AUTH


async def test_securing_a_queue(server: Running) -> None:
    async with clients(server, 18, 18) as (one, sender):
        key, other = a_key(), a_key(Kind.ED25519)
        by_sender, by_recipient = await TestQueue.make(one), await TestQueue.make(one, subscribe=False)
        assert await sender.ask(Send(b"x"), by_sender.ids.sender_id, key) == AUTH  # it is nobody's yet
        for _ in range(2):
            assert await sender.ask(SenderKey(key.public), by_sender.ids.sender_id, key) == Ok()
        assert await sender.ask(SenderKey(other.public), by_sender.ids.sender_id, other) == AUTH
        assert await sender.ask(SenderKey(key.public), by_sender.ids.sender_id, other) == AUTH
        for _ in range(2):
            secured = await one.ask(Key(other.public), by_recipient.ids.recipient_id, by_recipient.key)
            assert secured == Ok()
        assert await one.ask(Key(key.public), by_recipient.ids.recipient_id, by_recipient.key) == AUTH
        for queue, good, bad in ((by_sender, key, other), (by_recipient, other, key)):
            assert await queue.send(sender, b"x") == AUTH
            assert await sender.ask(Send(b"x"), queue.ids.sender_id, bad) == AUTH
            assert await sender.ask(Send(b"x"), queue.ids.sender_id, good) == Ok()


async def test_a_contact_queue_is_secured_by_nobody_but_its_recipient(server: Running) -> None:
    async with clients(server, 18) as (one,):
        queue, key = await TestQueue.make(one, mode=Mode.CONTACT, subscribe=False), a_key()
        assert await one.ask(SenderKey(key.public), queue.ids.sender_id, key) == AUTH
        assert await queue.send(one, b"everybody may") == Ok()


async def test_a_queue_has_few_recipients(server: Running) -> None:
    async with clients(server, 18) as (one,):
        queue = await TestQueue.make(one, mode=Mode.CONTACT, subscribe=False)
        keys = tuple(a_key().public for _ in range(254))
        for more in (keys, keys[:8]):
            asked = RecipientKeys((queue.key.public, *more))
            assert await one.ask(asked, queue.ids.recipient_id, queue.key) == Err("CMD PROHIBITED")
        asked = RecipientKeys((*keys[:7], queue.key.public))
        assert await one.ask(asked, queue.ids.recipient_id, queue.key) == Ok()
        assert await queue.subscribe(one) == Sok()
        known = await server.store.find(Party.RECIPIENT, queue.ids.recipient_id)
        assert known is not None
        assert len(known.recipient_keys) == 8


async def test_recipients_of_contact_queues_change(server: Running) -> None:
    async with clients(server, 18) as (one,):
        contact, messaging = await TestQueue.make(one, mode=Mode.CONTACT), await TestQueue.make(one)
        keys = [a_key(Kind.ED25519), a_key()]
        change = RecipientKeys(tuple(key.public for key in keys))
        assert await one.ask(change, messaging.ids.recipient_id, messaging.key) == AUTH
        assert await one.ask(change, contact.ids.recipient_id, contact.key) == Ok()
        assert await contact.subscribe(one) == AUTH
        for key in keys:
            assert await one.ask(Sub(), contact.ids.recipient_id, key) == Sok()


@pytest.mark.parametrize("given", [None, b"", b"wrong", b"right and more"])
async def test_the_password_for_new_queues(tmp_path: Path, given: bytes | None) -> None:
    async with running(tmp_path, password=b"right") as server, clients(server, 18) as (one,):
        key = a_key()
        new = New(key.public, a_key().public, password=given)
        assert await one.ask(new, key=key) == AUTH
        assert isinstance(await one.ask(New(key.public, a_key().public, password=b"right"), key=key), Ids)


async def test_a_new_queue_has_to_be_authorized_with_its_own_key(server: Running) -> None:
    async with clients(server, 18) as (one,):
        key = a_key()
        assert await one.ask(New(key.public, a_key().public), key=a_key()) == AUTH
        weak = New(key.public, PrivateKey(Kind.X25519, bytes(32)).public)
        assert isinstance(await one.ask(weak, key=key), Ids)
        zero = bytes.fromhex("302a300506032b656e032100") + bytes(32)
        nothing_secret = weak.encode(18).replace(weak.dh_key.encode(), zero)
        assert await one.ask(nothing_secret, key=key) == Err("CRYPTO")


@pytest.mark.parametrize(
    ("command", "has_entity", "has_key", "code"),
    [
        (b"PING", True, False, "CMD HAS_AUTH"),
        (b"PING", False, True, "CMD HAS_AUTH"),
        (b"PING more", False, False, "CMD SYNTAX"),
        (b"", False, False, "CMD UNKNOWN"),
        (b"ping", False, False, "CMD UNKNOWN"),
        (b"NKEY " + bytes(90), True, True, "CMD UNKNOWN"),
        (b"PRXY x", False, False, "CMD UNKNOWN"),
        (b"SUB", True, False, "CMD NO_AUTH"),
        (b"SUB", False, True, "CMD NO_AUTH"),
        (b"SUB ", True, True, "CMD SYNTAX"),
        (b"SEND T x", False, True, "CMD NO_ENTITY"),
        (b"SEND X x", True, True, "CMD SYNTAX"),
        (b"LGET", False, False, "CMD NO_ENTITY"),
        (b"LGET", True, True, "CMD HAS_AUTH"),
        (b"RKEY \0", True, True, "CMD SYNTAX"),
        (b"ACK", True, True, "CMD SYNTAX"),
    ],
)
async def test_commands_that_cannot_be(
    server: Running, command: bytes, code: str, *, has_entity: bool, has_key: bool
) -> None:
    async with clients(server, 18) as (one,):
        reply = await one.ask(command, bytes(24) if has_entity else b"", a_key() if has_key else None)
        assert reply == Err(code)
        assert await one.ask(Ping()) == Pong()


async def test_a_new_queue_has_no_id_yet(server: Running) -> None:
    async with clients(server, 18) as (one,):
        key = a_key()
        new = New(key.public, a_key().public)
        assert await one.ask(new, bytes(24), key) == Err("CMD HAS_AUTH")


# Links


async def test_a_contact_link(server: Running) -> None:
    link_id, data = secrets.token_bytes(24), LinkData(b"f" * 2048, b"u" * 13_784)
    async with clients(server, 18, 15) as (one, other):
        queue = await make_link(one, Mode.CONTACT, data, link_id)
        assert queue.ids.link_id == link_id
        assert await other.ask(LinkGet(), link_id) == Lnk(queue.ids.sender_id, data)
        key = a_key()
        assert await other.ask(LinkKey(key.public), link_id, key) == AUTH
        changed = LinkData(data.fixed, b"changed")
        for wrong in (LinkSet(bytes(24), changed), LinkSet(link_id, LinkData(b"another", b"x"))):
            assert await one.ask(wrong, queue.ids.recipient_id, queue.key) == AUTH
        assert await one.ask(LinkSet(link_id, changed), queue.ids.recipient_id, queue.key) == Ok()
        assert await other.ask(LinkGet(), link_id) == Lnk(queue.ids.sender_id, changed)
        for _ in range(2):
            assert await one.ask(LinkDelete(), queue.ids.recipient_id, queue.key) == Ok()
            assert await other.ask(LinkGet(), link_id) == AUTH
        assert await one.ask(LinkSet(link_id, data), queue.ids.recipient_id, queue.key) == Ok()
        assert await other.ask(LinkGet(), link_id) == Lnk(queue.ids.sender_id, data)
        assert await one.ask(Delete(), queue.ids.recipient_id, queue.key) == Ok()
        assert await other.ask(LinkGet(), link_id) == AUTH


async def test_a_one_time_link_is_used_up(server: Running) -> None:
    data = LinkData(b"fixed", b"user")
    async with clients(server, 18, 18) as (one, other):
        queue = await make_link(one, Mode.MESSAGING, data)
        link_id, key, too_late = queue.ids.link_id, a_key(), a_key()
        assert link_id is not None
        assert await other.ask(LinkGet(), link_id) == AUTH
        for _ in range(2):
            assert await other.ask(LinkKey(key.public), link_id, key) == Lnk(queue.ids.sender_id, data)
        assert await other.ask(LinkKey(too_late.public), link_id, too_late) == AUTH
        assert await one.ask(LinkSet(link_id, data), queue.ids.recipient_id, queue.key) == AUTH
        assert await other.ask(Send(b"hi"), queue.ids.sender_id, key) == Ok()
        assert await other.ask(LinkKey(key.public), link_id, key) == AUTH  # with the first message the link is gone


async def test_ids_that_a_client_chose_and_that_are_taken(server: Running) -> None:
    link_id, data = secrets.token_bytes(24), LinkData(b"fixed", b"user")
    async with clients(server, 18) as (one,):
        await make_link(one, Mode.CONTACT, data, link_id)
        key, correlation = a_key(), secrets.token_bytes(24)
        new = New(key.public, key.public, Mode.CONTACT, link=QueueLink(sender_id(correlation), data, link_id))
        new = New(key.public, a_key().public, Mode.CONTACT, link=new.link)
        assert await one.ask(new, key=key, correlation=correlation) == AUTH
        assert await one.ask(new, key=key) == Err("CMD PROHIBITED")


# The end of a queue


async def test_a_suspended_queue_can_be_emptied(server: Running) -> None:
    async with clients(server, 18, 18) as (one, sender):
        queue = await TestQueue.make(one)
        await queue.send(sender, b"last")
        assert isinstance((await one.hear())[1], Msg)
        assert await one.ask(Off(), queue.ids.recipient_id, queue.key) == Ok()
        assert await queue.send(sender, b"too late") == AUTH
        assert await queue.subscribe(one) == Sok()
        assert await queue.hear(one) == b"last"


async def test_a_deleted_queue_is_gone_for_all(server: Running) -> None:
    async with clients(server, 18, 18) as (one, other):
        queue = await TestQueue.make(one)
        assert await other.ask(Delete(), queue.ids.recipient_id, queue.key) == Ok()
        said, reply = await one.hear()
        assert (said.correlation_id, said.entity_id, reply) == (b"", queue.ids.recipient_id, Deleted())
        assert await queue.send(other, b"x") == AUTH
        assert await queue.subscribe(one) == AUTH
        assert await other.ask(Delete(), queue.ids.recipient_id, queue.key) == AUTH


# Batches


async def test_replies_come_in_the_order_of_the_commands(server: Running) -> None:
    async with clients(server, 18) as (one,):
        queue = await TestQueue.make(one, subscribe=False)
        asked = [
            one.transmission(Ping()),
            one.transmission(Sub(), queue.ids.recipient_id, queue.key),
            one.transmission(b"NOPE"),
            *(one.transmission(Send(str(number).encode()), queue.ids.sender_id) for number in range(100)),
        ]
        one.say(*asked)
        replies: list[Reply] = []
        for each in asked:
            said, reply = await one.hear()
            while not said.correlation_id:
                assert queue.open(reply) == b"0"
                said, reply = await one.hear()
            assert said.correlation_id == each.correlation_id
            replies.append(reply)
        assert replies == [Pong(), Sok(), Err("CMD UNKNOWN"), *[Ok()] * 100]


async def test_what_changes_permissions_is_done_before_what_follows(server: Running) -> None:
    async with clients(server, 18) as (one,):
        queue, key = await TestQueue.make(one, subscribe=False), a_key()
        asked = [
            one.transmission(Send(b"before"), queue.ids.sender_id),
            one.transmission(SenderKey(key.public), queue.ids.sender_id, key),
            one.transmission(Send(b"without"), queue.ids.sender_id),
            one.transmission(Send(b"with"), queue.ids.sender_id, key),
            one.transmission(Delete(), queue.ids.recipient_id, queue.key),
            one.transmission(Send(b"after"), queue.ids.sender_id, key),
        ]
        one.say(*asked)
        assert [(await one.hear())[1] for _ in asked] == [Ok(), Ok(), AUTH, Ok(), Ok(), AUTH]


async def test_many_subscriptions_at_once(server: Running) -> None:
    async with clients(server, 18, 18) as (one, other):
        queues = [await TestQueue.make(one, subscribe=False) for _ in range(60)]
        for number, queue in enumerate(queues[::2]):
            await queue.send(one, str(number).encode())
        other.say(*(other.transmission(Sub(), queue.ids.recipient_id, queue.key) for queue in queues))
        said = [await other.hear() for _ in range(90)]
        assert [reply for _, reply in said[:60]] == [Sok()] * 60
        for number, (queue, (transmission, reply)) in enumerate(zip(queues[::2], said[60:], strict=True)):
            assert transmission.entity_id == queue.ids.recipient_id
            assert queue.open(reply) == str(number).encode()


# The store fails


async def test_a_store_that_fails_is_said_and_the_connection_stays(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(server, 18) as (one,):
        queue = await TestQueue.make(one, subscribe=False)
        await queue.send(one, b"kept")
        with monkeypatch.context() as patch:

            async def fail(*_: object) -> None:
                await asyncio.sleep(0)
                raise StoreError("for a test")

            for name in ("send", "first", "create", "acknowledge", "link"):
                patch.setattr(type(server.store), name, fail)
            assert await queue.send(one, b"lost") == Err("STORE unavailable")
            assert await queue.subscribe(one) == Err("STORE unavailable")
        assert await queue.subscribe(one) == Sok()
        _, reply = await one.hear()
        with monkeypatch.context() as patch:
            patch.setattr(type(server.store), "acknowledge", fail)
            assert await queue.acknowledge(one, reply) == Err("STORE unavailable")
        assert queue.open(reply) == b"kept"
        assert await queue.acknowledge(one, reply) == Ok()


async def test_a_message_that_comes_while_a_subscription_looks_is_not_missed(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = QueueStore.first
    seen, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(store: QueueStore, queue: Queue) -> Message | None:
        found = await look(store, queue)
        seen.set()
        await go_on.wait()
        return found

    async with clients(server, 18, 18) as (one, sender):
        queue = await TestQueue.make(one, subscribe=False)
        monkeypatch.setattr(QueueStore, "first", slowly)
        subscribing = asyncio.create_task(queue.subscribe(one))
        await seen.wait()
        assert await queue.send(sender, b"meanwhile") == Ok()
        go_on.set()
        assert await subscribing == Sok()
        assert await queue.hear(one) == b"meanwhile"


async def test_a_subscription_whose_look_failed_gets_what_waits_with_the_next_message(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await asyncio.sleep(0)
        raise StoreError("for a test")

    async with clients(server, 18, 18) as (one, sender):
        queue = await TestQueue.make(one, subscribe=False)
        await queue.send(sender, b"one")
        with monkeypatch.context() as patch:
            patch.setattr(QueueStore, "first", fail)
            assert await queue.subscribe(one) == Err("STORE unavailable")
            assert await queue.send(sender, b"two") == Ok()
            assert await one.ask(Ping()) == Pong()
        assert await queue.send(sender, b"three") == Ok()
        _, reply = await one.hear()
        for body in (b"one", b"two", b"three"):
            assert queue.open(reply) == body
            reply = await queue.acknowledge(one, reply)
        assert reply == Ok()


async def test_what_changed_since_it_was_looked_up_is_refused(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connection was faster: the store says so, and the client hears what comes of that."""

    def answering(answer: object) -> Any:
        async def answered(*_: object, **__: object) -> object:
            await asyncio.sleep(0)
            return answer

        return answered

    async with clients(server, 18) as (one,):
        queue = await TestQueue.make(one, mode=Mode.CONTACT)
        link_id, key = secrets.token_bytes(24), a_key()
        await one.ask(LinkSet(link_id, LinkData(b"f", b"u")), queue.ids.recipient_id, queue.key)
        new = New(key.public, a_key().public)
        for name, answer, asked, reply in (
            ("send", Sent.REFUSED, (Send(b"x"), queue.ids.sender_id), AUTH),
            ("delete", False, (Delete(), queue.ids.recipient_id, queue.key), AUTH),
            ("link", None, (LinkGet(), link_id), AUTH),
            ("secure", None, (Key(key.public), queue.ids.recipient_id, queue.key), AUTH),
            ("create", None, (new, b"", key), Err("INTERNAL")),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(QueueStore, name, answering(answer))
                assert await one.ask(*asked) == reply
