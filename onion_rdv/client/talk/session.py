"""One end of a talk, without I/O: messages in, messages out, and what happened (docs/talk.md, "Frames").

Whoever drives a session sends what :meth:`Session.outgoing` gives until the server has it, says so with
:meth:`Session.sent`, gives every message that comes to :meth:`Session.receive`, says with
:meth:`Session.shown` when what happened by it was shown, and calls :meth:`Session.tick` when
that is due. Times are seconds of one clock, whichever.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from onion_rdv.client.talk import events, frames
from onion_rdv.client.talk.introductions import HELLO
from onion_rdv.client.talk.keys import Chain, code, commit
from onion_rdv.client.talk.outbox import Outbox, Outgoing
from onion_rdv.client.talk.presence import Presence
from onion_rdv.errors import TalkBroken, UsageError

if TYPE_CHECKING:
    from onion_rdv.client.talk.events import SessionEvent
    from onion_rdv.client.talk.keys import Code, Shared

MAX_TEXT_SIZE = 2**20
"""Bytes that a person's message may have in UTF-8; it is sent in as many frames as it takes."""

_HELLO_NUMBER = 0


def encode_text(text: str) -> bytes:
    """Give a message in UTF-8; raises :class:`~onion_rdv.errors.UsageError` for what is too long, or no text."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise UsageError("half a character cannot be said: a surrogate without its other half") from None
    if len(data) > MAX_TEXT_SIZE:
        raise UsageError(f"a message has at most {MAX_TEXT_SIZE:,} bytes", hint="send it in parts")
    return data


class Session:
    """One end of a talk; made by :class:`~onion_rdv.client.talk.meeting.Beginner` or ``Joiner``."""

    def __init__(self, shared: Shared, *, hello: bytes, nonce: bytes | None, commitment: bytes, now: float) -> None:
        """Begin: with the beginner's own ``nonce``, or, at the joiner's end, with its ``hello`` to send."""
        begins = nonce is not None
        self.code: Code | None = None
        self.same_here: bool | None = None
        """Whether the person here found the codes to be the same; None where they have not said so yet."""
        self.same_there: bool | None = None
        self.input_ended_there = False
        self.left = False
        """Whether the other has left."""
        self.leaving = False
        self.presence = Presence(now)
        self._transcript, self._commitment = shared.transcript, commitment
        self._hello_received = hashlib.sha256(hello).digest() if begins else None
        self._hello_to_send = None if begins else hello
        self._outbox = Outbox(frames.Sealer(Chain(shared.to_joiner if begins else shared.to_beginner)))
        self._opener = frames.Opener(Chain(shared.to_beginner if begins else shared.to_joiner))
        self._text = bytearray()
        self._input_ended_here = False
        self._wants_receipt = False
        if nonce is not None:
            self.code = code(shared.transcript, nonce)
            self._outbox.add(frames.Welcome(nonce))

    # What this end does

    def say(self, text: str) -> int:
        """Say something; gives the message's number for :class:`~onion_rdv.client.talk.events.Sent` and ``Arrived``.

        Raises :class:`~onion_rdv.errors.UsageError` for what is too long, and when this end is leaving.
        """
        if self.leaving:
            raise UsageError("nothing more can be said: this end is leaving", hint="begin a new talk")
        return self._outbox.say(encode_text(text))

    def compare(self, *, same: bool) -> None:
        """Tell the other what the person here found when they compared the codes; other codes end the talk.

        Who is leaving has said all there is to say, and what they found stands. Raises
        :class:`~onion_rdv.errors.UsageError` before there is a code.
        """
        if self.code is None:
            raise UsageError("there is no code to compare yet", hint="wait until the other has answered")
        if self.leaving:
            return
        self.same_here = same
        if not same:
            self._outbox.clear()
        self._outbox.add(frames.Verdict(same))
        if not same:
            self.leave()

    def end_input(self) -> None:
        """Tell the other, after all that was said, not to wait for more; a goodbye says that by itself."""
        if not self._input_ended_here and not self.leaving:
            self._input_ended_here = True
            self._outbox.add(frames.InputEnded())

    def leave(self) -> None:
        """Say goodbye after all that was said."""
        if not self.leaving:
            self.leaving = True
            if self.code is None:
                self._outbox.clear()  # words for somebody whom nobody has seen yet
            self._outbox.add(frames.Bye())

    # How it stands

    @property
    def undelivered(self) -> int:
        """How many messages of this end have not arrived at the other."""
        return self._outbox.undelivered

    @property
    def dropped(self) -> int:
        """How many of these are not even at the server, and never will be."""
        return self._outbox.dropped

    @property
    def waiting_size(self) -> int:
        """How many bytes of messages wait to be sent."""
        return self._outbox.waiting_size

    @property
    def is_complete(self) -> bool:
        """Whether both inputs have ended, and all that was said here has arrived."""
        is_all = self._outbox.is_empty and self._outbox.is_answered and not self._outbox.undelivered
        return self._input_ended_here and self.input_ended_there and is_all

    @property
    def is_over(self) -> bool:
        """Whether this end has left and the server has all that was said, the goodbye included."""
        return self.leaving and self._outbox.is_empty

    @property
    def goodbye_arrived(self) -> bool:
        """Whether the other knows that this end has left."""
        return self.is_over and self._outbox.is_answered

    # What comes and goes

    def outgoing(self) -> Outgoing | None:
        """Give what has to be sent now, the same until it is :meth:`sent`; None for nothing."""
        if self._hello_to_send is not None:
            return Outgoing(_HELLO_NUMBER, self._hello_to_send)
        if self.code is None and not self.leaving:
            return None  # nothing is said before both have the code
        return self._outbox.outgoing()

    def sent(self, number: int, now: float) -> list[SessionEvent]:
        """Note that the server has what :meth:`outgoing` gave under this number."""
        if number == _HELLO_NUMBER:
            self._hello_to_send = None
        happened: list[SessionEvent] = [events.Sent(message) for message in self._outbox.sent(number)]
        if self._outbox.asks:
            self.presence.asked(now)
        return happened

    def receive(self, message: bytes, now: float) -> list[SessionEvent]:
        """Take a message from the other; what comes a second time is dropped.

        It counts as arrived when :meth:`shown` says that what happened by it was shown.
        Raises :class:`~onion_rdv.errors.TalkBroken` for anything but what has to come next. Then the talk is over.
        """
        if message.startswith(HELLO):
            if hashlib.sha256(message).digest() == self._hello_received:
                return []
            raise TalkBroken("somebody else answers the same link")
        items = self._opener.open(message)
        if items is None:
            return []
        happened: list[SessionEvent] = []
        if self.presence.heard(now):
            happened.append(events.CameBack())
        if any(not isinstance(item, frames.Receipt) for item in items):
            self._wants_receipt = True
        if self.code is None:
            happened.append(self._welcomed(items.pop(0)))
        for item in items:
            if self.left and not isinstance(item, frames.Receipt):
                raise TalkBroken("something comes after the other's goodbye")
            happened += self._take(item, now)
        return happened

    def shown(self) -> None:
        """Tell the other, in the next frame, that all that was received has arrived, and was shown here."""
        if self._wants_receipt:
            self._wants_receipt = False
            self._outbox.receipt(self._opener.number)

    def tick(self, now: float) -> list[SessionEvent]:
        """Do what is due."""
        if self.left or self.leaving or self.code is None:
            return []
        if self.presence.wants_sign(now) and self._outbox.is_answered:
            self._outbox.ask_for_sign()
        return [events.FellSilent(self.presence.heard_at)] if self.presence.turns_silent(now) else []

    def next_due(self) -> float | None:
        """Give the time at which :meth:`tick` is due; None where only something else can change that."""
        if self.left or self.leaving or self.code is None:
            return None
        if not self._outbox.is_answered and not self._outbox.asks:
            return None  # the question is on its way
        return self.presence.next_due()

    def _welcomed(self, first: frames.Item) -> SessionEvent:
        if not isinstance(first, frames.Welcome) or not hmac.compare_digest(commit(first.nonce), self._commitment):
            raise TalkBroken("the beginner does not keep to what the link says")
        self.code = code(self._transcript, first.nonce)
        return events.Met(self.code)

    def _take(self, item: frames.Item, now: float) -> list[SessionEvent]:
        match item:
            case frames.Text() | frames.TextBegun():
                return self._take_text(item)
            case frames.Receipt(number):
                sent, arrived = self._outbox.arrived(number)
                self.presence.answered()
                if self._outbox.asks:
                    self.presence.asked(now)
                return [*map(events.Sent, sent), *map(events.Arrived, arrived)]
            case frames.Verdict(same):
                self.same_there = same
                return [events.Compared(same)]
            case frames.InputEnded():
                self.input_ended_there = True
                return [events.InputEnded()]
            case frames.Bye():
                self.left = True
                self._outbox.clear()
                return [events.Left()]
            case frames.Welcome():
                raise TalkBroken("the other says welcome where it does not belong")
        return []  # a ping, which any receipt answers

    def _take_text(self, item: frames.Text | frames.TextBegun) -> list[SessionEvent]:
        self._text += item.piece
        if len(self._text) > MAX_TEXT_SIZE:
            raise TalkBroken("a message is longer than a message can be")
        if isinstance(item, frames.TextBegun):
            return []
        try:
            text = self._text.decode()
        except UnicodeDecodeError:
            raise TalkBroken("a message is not UTF-8") from None
        self._text.clear()
        return [events.Said(text)]
