"""What every face of a talk does: show what happens, and say what is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onion_rdv.cli.terminal import complain, say
from onion_rdv.errors import UsageError

if TYPE_CHECKING:
    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.client.talk.events import Event

COMMANDS = "/same or /differs when you have compared the code, /quit to leave; // begins a line that begins with /"


class Face(Protocol):
    """Shows a talk and feeds it."""

    def tell(self, event: Event) -> None:
        """Show what has happened."""

    async def until_shown(self) -> None:
        """Wait until all of that stands where somebody can see it.

        Raises :class:`~onion_rdv.errors.OutputLost` or :class:`~onion_rdv.errors.NobodyReads` where it never will.
        """

    def finish(self, timeout: float) -> bool:
        """Wait for the same without an event loop, for so many seconds at most; tells whether that was enough."""

    async def feed(self, talk: Talk) -> None:
        """Say what is typed, until there is no more of it or this end leaves.

        Raises :class:`~onion_rdv.errors.UsageError` for what cannot be said.
        """


def obey(line: str, talk: Talk) -> None:
    """Say a line that a person has typed, or do what it says where it is a command."""
    try:
        match line.rstrip():
            case "":
                pass
            case "/same":
                talk.compare(same=True)
            case "/differs":
                talk.compare(same=False)
            case "/quit":
                talk.leave()
            case _ if line.startswith("//"):
                talk.say(line[1:])
            case _ if line.startswith("/"):
                say(f"there is no such command: type {COMMANDS}")
            case _:
                talk.say(line)
    except UsageError as error:
        complain(error)
