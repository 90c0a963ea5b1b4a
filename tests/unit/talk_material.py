"""What the tests of talks share: two ends that have met, and the pipe between them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onion_rdv.client.talk.events import Said
from onion_rdv.client.talk.introductions import Introduction
from onion_rdv.client.talk.link import TalkLink
from onion_rdv.client.talk.meeting import Beginner, Joiner
from onion_rdv.smp.wire.address import SmpServer

if TYPE_CHECKING:
    from onion_rdv.client.talk.events import Event
    from onion_rdv.client.talk.keys import Random
    from onion_rdv.client.talk.session import Session

ONION = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion"
SERVER = SmpServer(bytes(range(32)), (ONION,), 5223)
LINK_ID, SENDER_ID, JOINERS_SENDER_ID = b"l" * 24, b"s" * 24, b"j" * 24


def randomness(seed: int = 0) -> Random:
    """Give bytes that are the same in every run."""
    return random.Random(seed).randbytes


@dataclass
class End:
    """One end, the queue that its messages come out of, and what happened to it."""

    session: Session
    queue: list[bytes] = field(default_factory=list)
    happened: list[Event] = field(default_factory=list)

    @property
    def heard(self) -> list[str]:
        return [event.text for event in self.happened if isinstance(event, Said)]

    def push(self, other: End, now: float = 0) -> bool:
        """Send what has to be sent, and hear that the server has it."""
        outgoing = self.session.outgoing()
        if outgoing is None:
            return False
        other.queue.append(outgoing.message)
        self.happened += self.session.sent(outgoing.number, now)
        return True

    def pull(self, now: float = 0) -> bool:
        """Receive a message, and acknowledge it."""
        if not self.queue:
            return False
        self.happened += self.session.receive(self.queue.pop(0), now)
        self.session.shown()
        return True


def begin(seed: int = 0) -> tuple[Beginner, TalkLink, Introduction]:
    """Begin a talk, and read the introduction behind its link."""
    beginner = Beginner(randomness(seed))
    key, data = beginner.introduce(SENDER_ID)
    link = TalkLink(SERVER, LINK_ID, key)
    return beginner, link, Introduction.open(link, SENDER_ID, data)


def meet(seed: int = 0) -> tuple[End, End]:
    """Give the beginner's end and the joiner's, when the hello has arrived."""
    beginner, link, introduction = begin(seed)
    joiner = Joiner(randomness(seed + 1)).meet(link, introduction, JOINERS_SENDER_ID, SERVER, 0)
    outgoing = joiner.outgoing()
    assert outgoing is not None
    _, session = beginner.meet(link, outgoing.message, 0)
    joiner.sent(outgoing.number, 0)
    return End(session), End(joiner)


def settle(first: End, second: End, now: float = 0) -> None:
    """Let everything arrive."""
    while first.push(second, now) | second.push(first, now) | first.pull(now) | second.pull(now):
        pass
