"""What happens in a talk, in plain words."""

from __future__ import annotations

import os
import time
import unicodedata
from typing import TYPE_CHECKING

from onion_rdv.cli.passphrases import code_words
from onion_rdv.cli.terminal import printable
from onion_rdv.client.talk import events

if TYPE_CHECKING:
    from onion_rdv.client.talk.events import Event

_JOINERS = "\u200c\u200d"  # which hold letters and emoji together, and do nothing else
_MINUTE = 60
_OTHER = "other: "
_COLUMNS = 80  # of a terminal that does not say how many it has

_WORDS: dict[type[Event], str] = {
    events.CameBack: "the other is back",
    events.Left: "the other has left",
    events.QueueIsFull: "the other's queue is full; what you say waits here until they have fetched something",
}


def describe(event: Event) -> str | None:
    """Say what has happened; None for what is no news to a person."""
    match event:
        case events.Met(code):
            words = f"the other is here; the code of this talk is: {' '.join(code_words(code))}"
        case events.Compared(same):
            words = f"the other says that the codes {'are the same' if same else 'differ'}"
        case events.FellSilent(since):
            words = f"the other has been silent for {duration(time.monotonic() - since)}"
        case events.Disconnected(way, reason):
            words = f"the connection to {way.value} is gone ({reason}); connecting again"
        case events.Reconnected(way):
            words = f"connected again to {way.value}"
        case events.ThroughExit(host):
            words = through_exit(host)
        case events.NotErased(reason):
            words = f"our queue could not be deleted: {reason}; the server keeps it until it expires"
        case _:
            return _WORDS.get(type(event))
    return words


def shown(text: str) -> str:
    """Give a message as a terminal may show it: control characters, and whatever it might act on, as escapes."""
    return "".join(c if c in _JOINERS or unicodedata.category(c) == "Zs" else printable(c) for c in text)


def as_said(text: str) -> str:
    """Give what the other says as a terminal may show it: by whom it is, and on lines that begin with nothing else.

    Else a terminal would break long lines by itself, and the other could have one begin with what looks like words
    of this program, for instance with another code.
    """
    room = max(_columns() - 1 - len(_OTHER), 2)  # in the last column, terminals differ
    lines, line, size = [], "", 0
    for c in shown(text):
        width = _most_cells(c)
        if size + width > room:
            lines.append(line)
            line, size = "", 0
        line += c
        size += width
    return _OTHER + f"\n{' ' * len(_OTHER)}".join([*lines, line])


def _most_cells(character: str) -> int:
    """Give how many cells a terminal may need for a character, at the most: terminals differ in many."""
    return 1 if unicodedata.east_asian_width(character) in {"Na", "H", "N"} else 2


def _columns() -> int:
    """Give how wide the terminal is; what the environment says of it may be of another time."""
    try:
        return os.get_terminal_size(1).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def through_exit(host: str) -> str:
    """Say how a server is reached that is no onion service."""
    return f"{host} is no onion service: it is reached through an exit relay"


def duration(seconds: float) -> str:
    """Give a length of time as people say it."""
    return f"{seconds:.0f} s" if seconds < 2 * _MINUTE else f"{seconds / _MINUTE:.0f} min"
