"""Talks at a real messaging server, in one process: to their end, over streams that break, and into trouble."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from smp_peer import SmpPeer
from smp_peer import Talk as PeerTalk
from socks_proxy import RecordingSocks
from talk_material import randomness
from talking import HOST, beginning, house, joining

from onion_rdv.client.talk import conversation, events, inbox, line, outlet, presence
from onion_rdv.client.talk.events import Way
from onion_rdv.errors import (
    CodesDiffer,
    LinkDataRefused,
    MalformedBlock,
    MessagingIdentityDiffers,
    MessagingServerUnreachable,
    MessagingVersionUnknown,
    NoTor,
    QueueRefused,
    RdvError,
    TalkBroken,
    TalkCutShort,
    UsageError,
)
from onion_rdv.smp.wire.commands import Delete, Send, Sub
from onion_rdv.smp.wire.encoding import Versions
from onion_rdv.smp.wire.envelopes import Envelope
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import Ok

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "_PAUSES", (0.01, 0.05))
    monkeypatch.setattr(conversation, "_LAST_WORDS", 2.0)
    monkeypatch.setattr(outlet, "_FULL_PAUSE", 0.05)


async def test_two_people_talk_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        async with at.two() as (one, other):
            # Where the joiner's queue is, the beginner learns from them, and should hear of it.
            assert one.happened == [events.ThroughExit("messaging.example"), *other.happened]
            one.talk.say("hello")
            other.talk.say("good evening")
            await one.hears_of(events.Arrived)
            await other.hears_of(events.Arrived)
            assert (one.heard, other.heard) == (["good evening"], ["hello"])
            assert await at.queues() == 2
            one.talk.leave()
            await one.end()
            await other.end()
            assert isinstance(other.happened[-1], events.Left)
        assert await at.queues() == 0
        for port in at.ports:
            assert {(asked.host, asked.port) for asked in port.connects} == {(HOST, 5223)}
            credentials = [asked.credentials for asked in port.connects]
            assert len(credentials) == len(set(credentials)) == 2, "each queue is reached over a circuit of its own"


async def test_what_is_said_before_anybody_has_come_arrives(tmp_path: Path) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one:
        with pytest.raises(UsageError):
            one.talk.compare(same=True)
        assert one.talk.say("first") == 1
        assert one.talk.say("second") == 2
        async with joining(one.link, at.ports[1].socks) as other:
            await one.hears_of(events.Arrived, 2)
            assert other.heard == ["first", "second"]
            assert [event.message for event in one.happened if isinstance(event, events.Arrived)] == [1, 2]


async def test_the_two_compare_their_codes(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        async with at.two() as (one, other):
            one.talk.compare(same=True)
            await other.hears_of(events.Compared)
            other.talk.compare(same=False)
            for person in (one, other):
                with pytest.raises(CodesDiffer):
                    await person.end()
        assert await at.queues() == 0


async def test_pipes_that_end_leave_when_all_has_arrived(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        for person in (one, other):
            for number in range(200):
                person.talk.say(str(number))
            await person.talk.until_few_wait()
        one.talk.end_input(leave_when_complete=True)
        await one.hears_of(events.Arrived, 200)
        assert not one.talk.is_ending, "the other may still have something to say"
        other.talk.end_input(leave_when_complete=True)
        await one.end()
        await other.end()
        assert one.heard == other.heard == [str(number) for number in range(200)]


async def test_each_may_have_a_server_of_their_own(tmp_path: Path) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one:
        own = replace(at.place, hosts=("clear.example", "z.onion"))
        async with joining(one.link, at.ports[1].socks, own) as other:
            await other.hears_of(events.Met)
            other.talk.say("hello")
            await one.until(lambda: one.heard == ["hello"])
            for port in at.ports:
                assert {asked.host for asked in port.connects} == {HOST, "z.onion"}


# Streams that break


async def test_nothing_is_lost_or_repeated_when_circuits_break(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        for number in range(60):
            one.talk.say(f"one {number}")
            other.talk.say(f"other {number}")
            if number % 10 == 5:
                at.ways[number // 10 % 2].cut()
            await asyncio.sleep(0.002 * (number % 3))
        await one.hears_of(events.Arrived, 60)
        await other.hears_of(events.Arrived, 60)
        assert other.heard == [f"one {number}" for number in range(60)]
        assert one.heard == [f"other {number}" for number in range(60)]
        for person in (one, other):
            assert person.count(events.Disconnected) == person.count(events.Reconnected) > 0
        one.talk.leave()
        await one.end()
        await other.end()


@pytest.mark.parametrize("who", [0, 1])
async def test_who_was_cut_off_gets_all_that_was_said_meanwhile(tmp_path: Path, who: int) -> None:
    async with house(tmp_path) as at, at.two() as people:
        away, there = people[who], people[1 - who]
        at.ways[who].is_cut_off = True
        at.ways[who].cut()
        await away.hears_of(events.Disconnected, 2)
        away.talk.say("typed while away")
        there.talk.say("are you there?")
        await there.hears_of(events.Sent)
        at.ways[who].is_cut_off = False
        await there.hears_of(events.Arrived)
        await away.hears_of(events.Arrived)
        assert (away.heard, there.heard) == (["are you there?"], ["typed while away"])
        assert {event.way for event in away.happened if isinstance(event, events.Reconnected)} == {Way.IN, Way.OUT}


async def test_the_one_who_began_may_be_away_when_the_other_comes(tmp_path: Path) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one:
        at.ways[0].is_cut_off = True
        at.ways[0].cut()
        await one.hears_of(events.Disconnected)
        async with joining(one.link, at.ports[1].socks) as other:
            other.talk.say("hello")
            at.ways[0].is_cut_off = False
            await other.hears_of(events.Arrived)
            assert one.heard == ["hello"]


async def test_tor_itself_may_be_away(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        at.ports[0].answers[:] = [0x03]
        at.ways[0].cut()
        await one.hears_of(events.Disconnected, 2)
        at.ports[0].answers[:] = [at.ways[0]]
        one.talk.say("hello")
        await other.until(lambda: other.heard == ["hello"])


async def test_a_silent_circuit_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (inbox, outlet):
        monkeypatch.setattr(module, "_KEEPALIVE", 0.05)
    async with house(tmp_path) as at, at.two() as (one, other):
        await asyncio.sleep(0.3)
        assert (one.count(events.Disconnected), other.count(events.Disconnected)) == (0, 0)
        streams = at.ways[0]
        streams.is_frozen = True
        one.talk._timeout = 0.2  # for the end of this test
        for connection in (one.talk._inbox._line._connection, one.talk._outlet._line._connection):  # type: ignore[union-attr]
            assert connection is not None
            connection._timeout = 0.2
        await one.hears_of(events.Disconnected, 2)
        streams.is_frozen = False
        other.talk.say("hello")
        await one.until(lambda: one.heard == ["hello"])


async def test_another_subscriber_is_taken_for_a_break(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        client = await at.server.connect()
        queue = one.talk._inbox._created()
        await client.ask(Sub(), queue.recipient_id, queue.key)
        await one.hears_of(events.Reconnected)
        await client.close()
        other.talk.say("hello")
        await one.until(lambda: one.heard == ["hello"])


async def test_the_server_may_be_started_again(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        await at.restart()
        for person in (one, other):
            person.talk.say("hello again")
        for person in (one, other):
            await person.hears_of(events.Arrived)
        assert (one.heard, other.heard) == (["hello again"], ["hello again"])
        one.talk.leave()
        await one.end()
        await other.end()


async def say_nonsense(talk: PeerTalk) -> None:
    await talk.receive()
    await talk.send_data(b"\0")


@pytest.mark.parametrize(
    ("peer", "error"),
    [
        (SmpPeer(say_nonsense), MalformedBlock),
        (SmpPeer(versions=Versions(19, 20)), MessagingVersionUnknown),
    ],
)
async def test_what_another_connection_would_not_mend_ends_the_talk(
    tmp_path: Path, peer: SmpPeer, error: type[RdvError]
) -> None:
    async with house(tmp_path) as at, at.two() as (one, _):
        assert one.talk._outlet is not None
        lines = (one.talk._inbox._line, one.talk._outlet._line)
        for its_line in lines:
            its_line._server = peer.server
        at.ports[0].answers[:] = [peer]
        at.ways[0].cut()
        with pytest.raises(error):
            await one.end()
        asked = len(at.ports[0].connects) - 2
        assert asked <= 2, "once for each queue"
        for its_line in lines:  # so that its queue can be erased
            its_line._server = at.place
        at.ports[0].answers[:] = [at.ways[0]]


# Presence, and a full queue


async def test_who_is_silent_is_missed_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PING_AFTER", 0.05)
    monkeypatch.setattr(presence, "SILENT_AFTER", 2)  # what is on its way arrives within that
    async with house(tmp_path) as at, at.two() as (one, other):
        at.ways[1].is_cut_off = True
        at.ways[1].cut()
        await one.hears_of(events.FellSilent)
        await asyncio.sleep(presence.SILENT_AFTER)
        assert one.count(events.FellSilent) == 1
        at.ways[1].is_cut_off = False
        await one.hears_of(events.CameBack)
        assert other.heard == []


async def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        at.ways[1].is_cut_off = True
        at.ways[1].cut()
        said = 0
        while not one.count(events.QueueIsFull):
            said = one.talk.say(str(said))
            await one.until(lambda said=said: one.count(events.Sent) == said or one.count(events.QueueIsFull) > 0)  # type: ignore[misc]
        assert said > 100
        one.talk.say("last")
        at.ways[1].is_cut_off = False
        await one.hears_of(events.Arrived, said + 1)
        assert other.heard == [*map(str, range(said)), "last"]
        assert one.count(events.QueueIsFull) == 1


# Ends


async def test_nobody_came(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        async with beginning(at.ports[0].socks, at.place) as one:
            assert await at.queues() == 1
            one.talk.leave()
            await one.end()
            assert one.happened == []
        assert await at.queues() == 0
        with pytest.raises(QueueRefused, match="has left") as caught:
            async with joining(one.link, at.ports[1].socks):
                pass
        assert "ask for a new invite" in caught.value.hint
        assert await at.queues() == 0


async def test_a_link_is_good_for_one(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, _):
        with pytest.raises(QueueRefused, match="somebody has joined with this link before"):
            async with joining(one.link, at.ports[1].socks):
                pass
        assert await at.queues() == 2


async def test_who_leaves_while_something_has_not_arrived_says_so_to_the_other(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other), RecordingSocks([0x03]) as nowhere:
        assert other.talk._outlet is not None
        other.talk._outlet._line._socks = nowhere.socks  # its inbox comes back, its outlet does not
        at.ways[1].cut()
        await other.hears_of(events.Disconnected, 2)
        other.talk.say("never arrives")
        one.talk.leave()
        await one.end()
        with pytest.raises(TalkCutShort, match="1 message had not arrived when the other left"):
            await other.end()


async def test_who_leaves_before_there_is_an_answer_hears_what_was_not_said(tmp_path: Path) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one:
        at.ways[0].is_cut_off = True  # so that no answer comes
        at.ways[0].cut()
        await one.hears_of(events.Disconnected)
        async with joining(one.link, at.ports[1].socks) as other:
            other.talk.say("for nobody")
            other.talk.leave()
            with pytest.raises(TalkCutShort, match="1 message had nobody to go to"):
                await other.end()


async def test_a_beginner_who_leaves_as_the_other_comes_says_goodbye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one:
        one.talk.say("hello")
        start = one.talk.start

        def leave_and_start(*met: Any) -> None:
            one.talk.leave()
            start(*met)

        monkeypatch.setattr(one.talk, "start", leave_and_start)
        async with joining(one.link, at.ports[1].socks) as other:
            await other.end()
            await one.end()
            assert other.heard == ["hello"]


async def test_a_server_that_is_gone_at_the_end(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, _):
        for connection in (one.talk._inbox._line, one.talk._outlet._line):  # type: ignore[union-attr]
            connection._timeout = 0.2
        one.talk._timeout = one.talk._inbox._timeout = 0.3
        at.ways[0].is_cut_off = True
        at.ways[0].cut()
        one.talk.leave()
        with pytest.raises(TalkCutShort, match="could not be reached to say goodbye"):
            await one.end()
        await one.talk._inbox.erase()
        assert "did not answer in time" in one.happened[-1].reason  # type: ignore[union-attr]


async def test_the_others_queue_is_gone_without_a_goodbye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_LAST_WORDS", 0.1)
    async with house(tmp_path) as at, at.two() as (one, other):
        await other.talk._inbox.erase()
        one.talk.say("hello")
        with pytest.raises(TalkCutShort, match="there was no goodbye"):
            await one.end()


async def test_who_leaves_need_not_say_goodbye_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_LAST_WORDS", 0.1)
    async with house(tmp_path) as at, at.two() as (one, other):
        await other.talk._inbox.erase()
        one.talk.leave()
        await one.end()


async def test_who_leaves_does_not_wait_for_who_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PING_AFTER", 0.05)
    monkeypatch.setattr(presence, "SILENT_AFTER", 0.1)
    monkeypatch.setattr(conversation, "_LAST_WORDS", 1000)
    async with house(tmp_path) as at, at.two() as (one, other):
        at.ways[1].is_cut_off = True
        at.ways[1].cut()
        await one.hears_of(events.FellSilent)
        one.talk.say("farewell")
        one.talk.leave()
        await one.end()
        at.ways[1].is_cut_off = False
        await other.end()
        assert other.heard == ["farewell"]


async def test_our_own_queue_is_gone(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, _):
        client = await at.server.connect()
        queue = one.talk._inbox._created()
        assert await client.ask(Delete(), queue.recipient_id, queue.key) == Ok()
        await client.close()
        with pytest.raises(QueueRefused, match="our queue is gone"):
            await one.end()


async def test_a_talk_that_is_given_up_is_erased(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        with pytest.raises(asyncio.CancelledError):
            async with at.two():
                raise asyncio.CancelledError
        assert await at.queues() == 0


# Trouble


async def test_a_server_that_wants_a_password(tmp_path: Path) -> None:
    async with house(tmp_path, password=b"sesame") as at:
        for password, hint in ((None, "may want a password"), ("wrong", "may be wrong")):
            with pytest.raises(QueueRefused, match="makes no queue for us") as caught:
                async with beginning(at.ports[0].socks, replace(at.place, password=password)):
                    pass
            assert hint in caught.value.hint
            assert "--messaging-server" not in caught.value.hint, "where everybody on the machine could read it"
        right = replace(at.place, password="sesame")
        async with beginning(at.ports[0].socks, right) as one:
            assert "sesame" not in str(one.link)
            with pytest.raises(QueueRefused, match="makes no queue for us"):
                async with joining(one.link, at.ports[1].socks):
                    pass
            async with joining(one.link, at.ports[1].socks, right) as other:  # for the link is still unused
                await other.hears_of(events.Met)


async def test_another_server_than_the_link_names(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        elsewhere = replace(at.place, key_hash=bytes(32))
        with pytest.raises(MessagingIdentityDiffers):
            async with beginning(at.ports[0].socks, elsewhere):
                pass
        async with beginning(at.ports[0].socks, at.place) as one:
            with pytest.raises(MessagingIdentityDiffers):
                async with joining(replace(one.link, server=elsewhere), at.ports[1].socks, at.place):
                    pass


async def test_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    async with house(tmp_path) as at, RecordingSocks([0x05]) as nothing_there:
        with pytest.raises(MessagingServerUnreachable, match="nothing listens on that port"):
            async with beginning(nothing_there.socks, at.place):
                pass
    with pytest.raises(NoTor):
        async with beginning(nothing_there.socks, at.place):
            pass


async def test_a_link_with_another_key(tmp_path: Path) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one:
        with pytest.raises(LinkDataRefused):
            async with joining(replace(one.link, link_key=bytes(32)), at.ports[1].socks):
                pass
        assert await at.queues() == 1


@pytest.mark.parametrize("wrapped", [False, True])
async def test_somebody_else_sends_to_the_queue_first(tmp_path: Path, wrapped: bool) -> None:
    """The server, or who has the link, can put something else into the queue; then the talk does not begin."""
    async with house(tmp_path) as at:
        async with beginning(at.ports[0].socks, at.place) as one:
            queue = one.talk._inbox._created()
            body = b"junk"
            if wrapped:
                key = PrivateKey(Kind.X25519, randomness()(32))
                body = Envelope(b"junk").seal(key, one.talk._inbox._key.public, bytes(24))
            client = await at.server.connect()
            assert await client.ask(Send(body), queue.sender_id) == Ok()
            await client.close()
            with pytest.raises(TalkBroken if wrapped else MalformedBlock):
                await one.end()
        assert await at.queues() == 0
