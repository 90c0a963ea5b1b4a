"""The heart of a talk: what is said arrives once and in order, whatever the network does; and what must not pass."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talk_material import JOINERS_SENDER_ID, SERVER, End, begin, meet, randomness, settle

from onion_rdv.client.talk import events, frames, keys
from onion_rdv.client.talk.keys import Chain
from onion_rdv.client.talk.meeting import Joiner
from onion_rdv.client.talk.presence import PING_AFTER, SILENT_AFTER
from onion_rdv.client.talk.session import MAX_TEXT_SIZE
from onion_rdv.errors import TalkBroken, UsageError
from onion_rdv.smp.wire.encoding import large

TEXTS = st.one_of(
    st.text(max_size=40),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=40), st.integers(1, 3000)),
)


def test_two_meet_and_see_the_same_code() -> None:
    beginner, joiner = meet()
    assert joiner.session.code is None
    settle(beginner, joiner)
    assert beginner.session.code is not None
    assert joiner.session.code == beginner.session.code
    assert joiner.happened == [events.Met(beginner.session.code)]
    assert all(0 <= number < 7776 for number in beginner.session.code)


def test_marks_and_verdicts() -> None:
    beginner, joiner = meet()
    number = beginner.session.say("hello")
    assert beginner.push(joiner)
    assert beginner.happened == [events.Sent(number)]
    assert beginner.session.undelivered == 1
    settle(beginner, joiner)
    assert joiner.heard == ["hello"]
    assert beginner.happened == [events.Sent(number), events.Arrived(number)]
    assert beginner.session.undelivered == 0
    joiner.session.compare(same=True)
    settle(beginner, joiner)
    assert beginner.happened[-1] == events.Compared(same=True)
    assert (beginner.session.same_there, joiner.session.same_here, joiner.session.same_there) == (True, True, None)
    assert joiner.session.presence.here


def test_nothing_has_arrived_before_it_is_shown() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    beginner.session.say("hello")
    beginner.push(joiner)
    assert joiner.session.receive(joiner.queue.pop(), 0) == [events.Said("hello")]
    assert joiner.session.outgoing() is None
    joiner.session.shown()
    settle(beginner, joiner)
    assert beginner.happened[-1] == events.Arrived(1)
    joiner.session.shown()
    assert joiner.session.outgoing() is None, "it was said before"


def test_nothing_is_said_before_both_have_the_code() -> None:
    _, joiner = meet()
    joiner.session.say("too early")
    assert joiner.session.outgoing() is None
    with pytest.raises(UsageError, match="no code to compare yet"):
        joiner.session.compare(same=True)


def test_other_codes_end_the_talk() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    joiner.session.say("never sent")
    joiner.session.compare(same=False)
    settle(beginner, joiner)
    assert beginner.happened == [events.Compared(same=False), events.Left()]
    assert joiner.session.goodbye_arrived


def test_a_goodbye_comes_after_all_that_was_said() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    for word in ("one", "two"):
        joiner.session.say(word)
    joiner.session.leave()
    joiner.session.leave()
    assert not joiner.session.is_over
    settle(beginner, joiner)
    assert beginner.heard == ["one", "two"]
    assert beginner.happened[-1] == events.Left()
    assert joiner.session.is_over
    assert joiner.session.goodbye_arrived


def test_nothing_goes_out_behind_the_goodbye() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    joiner.session.say("last words")
    joiner.session.leave()
    joiner.session.end_input()
    for same in (True, False):
        joiner.session.compare(same=same)
    with pytest.raises(UsageError, match="this end is leaving"):
        joiner.session.say("too late")
    settle(beginner, joiner)
    assert beginner.happened == [events.Said("last words"), events.Left()]
    assert (joiner.session.undelivered, joiner.session.same_here) == (0, None)


def test_codes_that_differ_are_not_the_same_a_moment_later() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    joiner.session.compare(same=False)
    joiner.session.compare(same=True)
    settle(beginner, joiner)
    assert joiner.session.same_here is False
    assert beginner.happened == [events.Compared(same=False), events.Left()]


def test_both_may_leave_at_once() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    beginner.session.leave()
    joiner.session.leave()
    assert beginner.push(joiner)
    assert joiner.push(beginner)
    settle(beginner, joiner)
    assert beginner.session.left
    assert joiner.session.left
    assert beginner.session.goodbye_arrived


def test_a_joiner_who_leaves_before_the_welcome_says_nothing_else() -> None:
    beginner, joiner = meet()
    joiner.session.say("never sent")
    joiner.session.leave()
    settle(beginner, joiner)
    assert beginner.happened == [events.Left()]
    assert joiner.session.is_over
    assert joiner.session.dropped == 1


def test_ends_of_input() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    joiner.session.say("last words")
    joiner.session.end_input()
    joiner.session.end_input()
    settle(beginner, joiner)
    assert beginner.happened == [events.Said("last words"), events.InputEnded()]
    assert not joiner.session.is_complete
    beginner.session.end_input()
    settle(beginner, joiner)
    assert joiner.session.is_complete
    assert beginner.session.is_complete


def test_many_short_messages_share_a_frame_and_a_long_one_takes_several() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    for number in range(100):
        joiner.session.say(str(number))
    assert joiner.push(beginner)
    assert not joiner.push(beginner)
    longest = "\N{OPEN FILE FOLDER}" * (MAX_TEXT_SIZE // 4)
    joiner.session.say(longest)
    settle(beginner, joiner)
    assert beginner.heard == [*map(str, range(100)), longest]
    with pytest.raises(UsageError, match="1,048,576 bytes"):
        joiner.session.say(longest + "x")


# Presence


def test_who_says_nothing_is_asked_once_and_then_silent() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    assert beginner.session.next_due() == PING_AFTER
    assert beginner.session.tick(PING_AFTER - 1) == []
    assert not beginner.push(joiner)
    assert beginner.session.tick(PING_AFTER) == []
    assert beginner.session.next_due() is None, "the question is on its way"
    assert beginner.push(joiner, PING_AFTER)
    assert beginner.session.next_due() == PING_AFTER + SILENT_AFTER
    assert beginner.session.tick(PING_AFTER + SILENT_AFTER) == [events.FellSilent(0)]
    assert beginner.session.next_due() is None
    assert beginner.session.tick(10 * PING_AFTER) == []
    assert not beginner.push(joiner), "one question is enough"
    settle(beginner, joiner, 1000)
    assert beginner.happened == [events.CameBack()]
    assert beginner.session.next_due() == 1000 + PING_AFTER
    assert joiner.happened[1:] == []


def test_a_message_is_a_question_too() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    beginner.session.say("are you there?")
    assert beginner.push(joiner, 5)
    assert beginner.session.next_due() == 5 + SILENT_AFTER
    settle(beginner, joiner, 6)
    assert beginner.session.next_due() == 6 + PING_AFTER


def test_two_ends_that_ask_each_other_do_not_go_on_for_ever() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    for end in (beginner, joiner):
        end.session.tick(PING_AFTER)
    settle(beginner, joiner, PING_AFTER)
    assert not beginner.session.outgoing()


# Whatever the network does

ACTIONS = st.one_of(
    st.tuples(st.just("say"), TEXTS),
    st.sampled_from(
        [
            ("send",),
            ("send, reply lost",),
            ("send, lost",),
            ("late duplicate",),
            ("receive",),
            ("receive, unacknowledged",),
        ]
    ),
)


def act(end: End, other: End, action: tuple[str, ...], said: list[str], late: list[bytes]) -> None:
    match action:
        case ("say", text):
            end.session.say(text)
            said.append(text)
        case ("send",):
            end.push(other)
        case ("send, reply lost",) | ("send, lost",) | ("late duplicate",):
            outgoing = end.session.outgoing()
            if outgoing and action[0] == "send, reply lost":
                other.queue.append(outgoing.message)
            elif outgoing and action[0] == "late duplicate":
                late.append(outgoing.message)  # in a circuit that is slower than the one after it
            elif late:
                other.queue.append(late.pop(0))
        case ("receive",):
            end.pull()
        case ("receive, unacknowledged",):
            if end.queue:
                end.happened += end.session.receive(end.queue[0], 0)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.booleans(), ACTIONS), max_size=60))
def test_nothing_is_lost_repeated_or_out_of_order(actions: list[tuple[bool, tuple[str, ...]]]) -> None:
    ends = meet()
    said: tuple[list[str], list[str]] = ([], [])
    late: tuple[list[bytes], list[bytes]] = ([], [])
    for whose, action in actions:
        act(ends[whose], ends[not whose], action, said[whose], late[whose])
    for whose in (False, True):
        # An old circuit's frame can only be one that was sent again, or is still on its way.
        settle(*ends)
        ends[not whose].queue += late[whose]
    settle(*ends)
    for whose in (False, True):
        assert ends[not whose].heard == said[whose]
        marks = [event for event in ends[whose].happened if isinstance(event, events.Sent | events.Arrived)]
        for kind in (events.Sent, events.Arrived):
            assert [mark.message for mark in marks if type(mark) is kind] == list(range(1, len(said[whose]) + 1))
        assert ends[whose].session.undelivered == 0


# What must not pass


def broken(end: End, message: bytes) -> str:
    with pytest.raises(TalkBroken) as caught:
        end.session.receive(message, 0)
    return caught.value.detail


def outgoing_of(end: End) -> bytes:
    outgoing = end.session.outgoing()
    assert outgoing is not None
    return outgoing.message


def test_a_frame_that_is_missing_is_noticed() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    for word in ("one", "two"):
        joiner.session.say(word)
        joiner.push(beginner)
    assert broken(beginner, beginner.queue[1]) == "frame 2 is missing"


@given(st.integers(0, 60), st.integers(0, 7))
def test_a_frame_that_is_changed_is_noticed(place: int, bit: int) -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    joiner.session.say("hello")
    message = bytearray(outgoing_of(joiner))
    message[place % len(message)] ^= 1 << bit
    try:
        assert beginner.session.receive(bytes(message), 0) == []
    except TalkBroken:
        pass
    else:
        assert message[:9] < frames.FRAME + (2).to_bytes(8, "big"), "only what looks like an old frame is dropped"


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_the_talks_error(junk: bytes) -> None:
    beginner, link, _ = begin()
    with pytest.raises(TalkBroken):
        beginner.meet(link, junk, 0)
    ends = meet()
    for end in ends:
        for message in (junk, frames.FRAME + junk, frames.FRAME + (1).to_bytes(8, "big") + junk, b"H" + junk):
            try:
                assert end.session.receive(message, 0) == []
            except TalkBroken:
                pass
            else:
                assert message.startswith(frames.FRAME + bytes(8)), "a frame of number 0 was there before all others"


@given(st.lists(st.binary(max_size=20), max_size=4), st.booleans())
def test_any_bytes_from_the_other_end_itself_raise_only_the_talks_error(
    pieces: list[bytes], well_formed: bool
) -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    data = b"".join(bytes([len(piece) % 9]) + large(piece) for piece in pieces) if well_formed else b"".join(pieces)
    sealer = joiner.session._outbox._sealer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "encode_items", lambda _: data)
        message = sealer.seal([])
    with suppress(TalkBroken):
        beginner.session.receive(message, 0)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([frames.Welcome(bytes(32))], "welcome where it does not belong"),
        ([frames.Receipt(2)], "acknowledges what was never sent"),
        ([frames.Text(b"\xff")], "not UTF-8"),
        ([frames.TextBegun(b"\xc3"), frames.Text(b"")], "not UTF-8"),
        ([frames.Bye(), frames.Text(b"")], "after the other's goodbye"),
        ([], "cut short"),
    ],
)
def test_what_the_other_end_must_not_say(items: list[frames.Item], says: str) -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    assert says in broken(beginner, joiner.session._outbox._sealer.seal(items))


def test_a_message_without_end_is_not_kept() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    sealer = joiner.session._outbox._sealer
    piece = frames.TextBegun(bytes(MAX_TEXT_SIZE // 128))
    for _ in range(128):
        assert beginner.session.receive(sealer.seal([piece]), 0) == []
    assert "longer than a message can be" in broken(beginner, sealer.seal([frames.Text(b"x")]))


def test_frames_of_the_wrong_direction_do_not_open() -> None:
    beginner, joiner = meet()
    settle(beginner, joiner)
    joiner.session.say("hello")
    assert broken(joiner, outgoing_of(joiner)) in {"frame 2 is missing", "frame 2 does not open"}


def test_a_second_hello_is_refused_and_the_same_one_dropped() -> None:
    beginner, link, introduction = begin()
    hellos = []
    for seed in (1, 2):
        joiner = Joiner(randomness(seed)).meet(link, introduction, JOINERS_SENDER_ID, SERVER, 0)
        outgoing = joiner.outgoing()
        assert outgoing is not None
        hellos.append(outgoing.message)
    _, session = beginner.meet(link, hellos[0], 0)
    assert session.receive(hellos[0], 0) == []
    assert broken(End(session), hellos[1]) == "somebody else answers the same link"
    with pytest.raises(ValueError, match="one joiner"):
        beginner.meet(link, hellos[1], 0)
    assert broken(End(joiner), hellos[1]) == "somebody else answers the same link"


# Somebody in the middle


@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(max_examples=50)
def test_somebody_in_the_middle_makes_the_codes_differ(one: int, other: int) -> None:
    """Who has a link of their own for the joiner talks to both, and reads all; the two see other codes."""
    left, middle_as_joiner = meet(one)
    middle_as_beginner, right = meet(other + 2**33)
    settle(left, middle_as_joiner)
    settle(middle_as_beginner, right)
    assert left.session.code == middle_as_joiner.session.code
    assert left.session.code != right.session.code


def test_a_beginner_who_chooses_the_nonce_after_the_hello_is_found_out() -> None:
    beginner, joiner = meet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginner.session._outbox, "_waiting", type(beginner.session._outbox._waiting)())
        beginner.session._outbox.add(frames.Welcome(b"another nonce".ljust(32)))
        message = outgoing_of(beginner)
    assert "does not keep to what the link says" in broken(joiner, message)


def test_a_beginner_who_says_no_welcome_is_found_out() -> None:
    beginner, joiner = meet()
    beginner.session._outbox.clear()
    beginner.session.say("hello")
    assert "does not keep to what the link says" in broken(joiner, outgoing_of(beginner))


def test_the_code_depends_on_everything_that_was_said_in_the_open() -> None:
    _, link, introduction = begin()
    hello = Joiner(randomness(1)).meet(link, introduction, JOINERS_SENDER_ID, SERVER, 0).outgoing()
    assert hello is not None
    transcript = keys.share(
        keys.new_key(randomness(5)), introduction.talk_key.raw, str(link), hello.message
    ).transcript
    codes = {keys.code(transcript, bytes(32)), keys.code(transcript, bytes(31) + b"\x01")}
    for changed_link, changed_hello in (
        (str(link)[:-1] + "A", hello.message),
        (str(link), hello.message[:-1] + b"\0"),
    ):
        changed = keys.share(keys.new_key(randomness(5)), introduction.talk_key.raw, changed_link, changed_hello)
        codes.add(keys.code(changed.transcript, bytes(32)))
    assert len(codes) == 4


# Keys


def chains() -> list[Chain]:
    return [held for held in gc.get_objects() if isinstance(held, Chain)]


def test_old_keys_are_gone() -> None:
    others = {id(held): held for held in chains()}  # of other tests: their randomness is the same, and so their keys
    beginner, joiner = meet()
    settle(beginner, joiner)
    chain = joiner.session._outbox._sealer._chain
    old = (chain._chain, chain.look())
    joiner.session.say("hello")
    settle(beginner, joiner)
    everything = [held for held in chains() if id(held) not in others]
    assert chain in everything
    assert not any(held._chain in old or held.look() in old for held in everything)
    own = {name: value for name, value in vars(chain).items() if name != "_chain"}
    assert own == {}, "a chain holds what comes next, and nothing else"


def test_every_frame_has_a_key_of_its_own() -> None:
    chain, again = Chain(bytes(32)), Chain(bytes(32))
    derived = [chain.step() for _ in range(100)]
    assert len(set(derived)) == 100
    assert again.look() == again.look() == again.step() == derived[0]


def test_a_key_of_low_order_is_refused() -> None:
    with pytest.raises(TalkBroken, match="low order"):
        keys.share(keys.new_key(randomness()), bytes(32), "link", b"hello")


def test_secrets_do_not_show_in_a_traceback() -> None:
    shown = repr((keys.Shared(b"", b"secret", b"secret"), events.Said("secret"), frames.Text(b"secret")))
    assert "secret" not in shown
