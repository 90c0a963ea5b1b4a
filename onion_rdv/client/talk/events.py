"""What happens in a talk that a person, or a program, wants to hear of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onion_rdv.client.talk.keys import Code


@dataclass(frozen=True, slots=True)
class Met:
    """The two ends have found each other; the code is there to be compared."""

    code: Code


@dataclass(frozen=True, slots=True)
class Said:
    """The other says something."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """The server has all of the message that :meth:`~onion_rdv.client.talk.session.Session.say` gave this number."""

    message: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """The other has all of it."""

    message: int


@dataclass(frozen=True, slots=True)
class Compared:
    """The other person says whether the codes are the same."""

    same: bool


@dataclass(frozen=True, slots=True)
class FellSilent:
    """The other does not answer, and was last heard at this time."""

    since: float


@dataclass(frozen=True, slots=True)
class CameBack:
    """The other, who had been silent, was heard."""


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The other need not be waited for: their input has ended, or is a person's."""


@dataclass(frozen=True, slots=True)
class Left:
    """The other has left for good."""


class Way(Enum):
    """Which of an end's two queues a connection is for."""

    IN = "receive"
    OUT = "send"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection has ended, and is being made again."""

    way: Way
    reason: str


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection is there again, on a fresh circuit."""

    way: Way


@dataclass(frozen=True, slots=True)
class ThroughExit:
    """The server that the other has named is no onion service, and is reached through an exit relay."""

    host: str


@dataclass(frozen=True, slots=True)
class QueueIsFull:
    """So much waits for the other that the server takes no more; what is said here waits, too."""


@dataclass(frozen=True, slots=True)
class NotErased:
    """This end's queue could not be deleted; the server will keep it until it expires."""

    reason: str


SessionEvent = Met | Said | Sent | Arrived | Compared | FellSilent | CameBack | InputEnded | Left
"""What a session tells."""

Event = SessionEvent | Disconnected | Reconnected | ThroughExit | QueueIsFull | NotErased
"""What a talk tells."""
