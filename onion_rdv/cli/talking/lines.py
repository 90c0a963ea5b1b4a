"""Lines in, lines out: for pipes, and for terminals that can do no more.

What the other says goes to stdout, everything else to stderr; on a terminal, each line says which of the two it is.
At a terminal, lines that begin with a slash are commands; from a pipe everything is said as it is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from onion_rdv.cli.talking.face import COMMANDS, obey
from onion_rdv.cli.talking.stdin import lines
from onion_rdv.cli.talking.words import as_said, describe
from onion_rdv.cli.talking.writer import STDERR, Writer
from onion_rdv.cli.terminal import as_told
from onion_rdv.client.talk import events

if TYPE_CHECKING:
    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.client.talk.events import Event


class Lines:
    """A talk as lines."""

    def __init__(self) -> None:
        """Look whether a person types, and whether one reads."""
        self._is_typed = sys.stdin.isatty()
        self._is_read = sys.stdout.isatty()
        self._writer = Writer()
        self.until_shown = self._writer.until_written
        self.finish = self._writer.finish

    def tell(self, event: Event) -> None:
        """Print what the other says, and tell the rest."""
        if isinstance(event, events.Said):
            self._writer.write(as_said(event.text) if self._is_read else event.text)
        elif (words := describe(event)) is not None:
            self._say(words)
            if isinstance(event, events.Met) and self._is_typed:
                self._say(f"compare it with the other's, by voice; type {COMMANDS}")

    def _say(self, words: str) -> None:
        self._writer.write(as_told(f"* {words}" if self._is_read else words), STDERR)

    async def feed(self, talk: Talk) -> None:
        """Say every line of stdin.

        A person who ends their input leaves. A pipe that ends has been said, and leaves when all of it has arrived
        and nothing more need be waited for. Where there was not a single line, there was no stdin to speak of: this
        end only listens.
        """
        if self._is_typed:
            talk.end_input()
        said_something = False
        async for line in lines():
            if not self._is_typed:  # what is typed may be a command, which waits for nothing
                await talk.until_few_wait()
            if talk.is_leaving:
                return
            said_something = True
            if self._is_typed:
                obey(line, talk)
            else:
                talk.say(line)
        if self._is_typed:
            talk.leave()
        else:
            talk.end_input(leave_when_complete=said_something)
