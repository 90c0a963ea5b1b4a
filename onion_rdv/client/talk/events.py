"""What happens in a talk that a person, or a program, wants to hear of."""

from __future__ import annotations

from dataclasses import dataclass, field
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


Event = Met | Said | Sent | Arrived | Compared | FellSilent | CameBack | InputEnded | Left
