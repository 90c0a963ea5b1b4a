"""JSON in, JSON out, one object a line (docs/talk.md, "For programs")."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from onion_rdv.cli.passphrases import code_words
from onion_rdv.cli.talking.stdin import lines
from onion_rdv.cli.talking.writer import Writer
from onion_rdv.cli.terminal import as_json
from onion_rdv.client.talk import events
from onion_rdv.client.talk.session import MAX_TEXT_SIZE
from onion_rdv.errors import UsageError

if TYPE_CHECKING:
    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.client.talk.events import Event

_ORDERS: Final = '{"say": TEXT}, {"same": true or false} and {"quit": true}'

_READ_ON: Final = MAX_TEXT_SIZE
"""Bytes of text that may wait to be sent while orders are read on: one that ends the talk may stand behind them."""

_NAMES: Final[dict[type[Event], str]] = {
    events.Met: "met",
    events.Said: "said",
    events.Sent: "sent",
    events.Arrived: "arrived",
    events.Compared: "compared",
    events.FellSilent: "silent",
    events.CameBack: "back",
    events.InputEnded: "input_ended",
    events.Left: "left",
    events.Disconnected: "disconnected",
    events.Reconnected: "reconnected",
    events.ThroughExit: "exit",
    events.QueueIsFull: "full",
    events.NotErased: "not_erased",
}


class Programs:
    """A talk as JSON."""

    def __init__(self) -> None:
        """Prepare to write."""
        self._writer = Writer()
        self.until_shown = self._writer.until_written
        self.finish = self._writer.finish

    def tell(self, event: Event) -> None:
        """Print what has happened."""
        self._writer.write(as_json(describe(event)))

    async def feed(self, talk: Talk) -> None:
        """Do what every line of stdin says, until one ends the talk; at the end of stdin, do as pipes do."""
        said_something = False
        async for line in lines():
            order = _read(line)
            if isinstance(order, dict) and "say" in order:  # other orders wait for nothing
                await self.until_shown()  # who takes no events is not read from without end
                await talk.until_few_wait(_READ_ON)
            if talk.is_leaving:
                return
            said_something |= _obey(order, talk)
        talk.end_input(leave_when_complete=said_something)


def describe(event: Event) -> dict[str, Any]:
    """Give an event as an object: its name, and what it says."""
    described: dict[str, Any] = {"event": _NAMES[type(event)]}
    for field in fields(event):
        value = getattr(event, field.name)
        match field.name:
            case "code":
                described["code"] = code_words(value)
            case "since":
                described["seconds"] = round(time.monotonic() - value, 1)
            case "way":
                described["way"] = value.value
            case name:
                described[name] = value
    return described


def _read(line: str) -> Any:
    """Give what a line holds; None for what is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # the latter for what is nested without end
        return None


def _obey(order: Any, talk: Talk) -> bool:
    """Do what an order says; tells whether it said something to the other."""
    match order:
        case {"say": str(text)}:
            talk.say(text)
            return True
        case {"same": bool(same)}:
            talk.compare(same=same)
        case {"quit": True}:
            talk.leave()
        case _:
            raise UsageError(
                "a line of stdin is no order for a talk",
                hint='orders are {"say": TEXT}, {"same": BOOL}, {"quit": true}',
            )
    return False
