"""At a terminal: a prompt, what the other says above it, and below it a line that says how things stand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from onion_rdv.cli.passphrases import code_words
from onion_rdv.cli.talking.face import COMMANDS, obey
from onion_rdv.cli.talking.words import as_said, describe, duration
from onion_rdv.cli.terminal import emit, say
from onion_rdv.client.talk import events

if TYPE_CHECKING:
    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.client.talk.events import Event
    from onion_rdv.client.talk.session import Session

_REFRESH = 5.0  # seconds; how long the other has been silent grows by itself


class Prompt:
    """A talk as people see it."""

    def __init__(self) -> None:
        """Prepare the prompt; what is typed is remembered until the end of the talk, and nowhere else."""
        self._prompt: PromptSession[str] = PromptSession(
            "> ", history=InMemoryHistory(), bottom_toolbar=self._toolbar, refresh_interval=_REFRESH
        )
        self._talk: Talk | None = None
        self._said = self._sent = self._arrived = 0

    def tell(self, event: Event) -> None:
        """Show what has happened, above the prompt or below it."""
        match event:
            case events.Said(text):
                emit(as_said(text))
            case events.Sent():
                self._sent += 1
            case events.Arrived():
                self._arrived += 1
        words = describe(event)
        if words is not None:
            say(f"* {words}")
            if isinstance(event, events.Met):
                say(f"* compare it with the other's, by voice; type {COMMANDS}")
        self._prompt.app.invalidate()

    async def until_shown(self) -> None:
        """Wait for nothing: who types also sees."""

    def finish(self, timeout: float) -> bool:  # noqa: ARG002
        """Wait for nothing."""
        return True

    async def feed(self, talk: Talk) -> None:
        """Say what is typed; Ctrl-D and Ctrl-C leave, as /quit does."""
        self._talk = talk
        talk.end_input()  # a person need not be waited for
        with patch_stdout():
            while not talk.is_ending:
                try:
                    # SIGINT stays the talk's: prompt_toolkit would take its handler over, and then away for good.
                    line = await self._prompt.prompt_async(handle_sigint=False)
                except (EOFError, KeyboardInterrupt):
                    talk.leave()
                    return
                obey(line, talk)
                self._said = talk.said

    def _toolbar(self) -> str:
        session = self._talk.session if self._talk is not None else None
        if session is None or session.code is None:
            return " waiting for the other "
        parts = [f"code: {' '.join(code_words(session.code))}", _verdicts(session), _presence(session), self._marks()]
        return " " + "  |  ".join(parts) + " "

    def _marks(self) -> str:
        if self._said == self._arrived:
            return "all has arrived" if self._said else "nothing said yet"
        if self._said == self._sent:
            return f"{self._said - self._arrived} at the server"
        return f"{self._said - self._sent} on the way, {self._sent - self._arrived} at the server"


def _verdicts(session: Session) -> str:
    said = {None: "not compared", True: "the same", False: "different"}
    return f"you: {said[session.same_here]}, other: {said[session.same_there]}"


def _presence(session: Session) -> str:
    if session.presence.here:
        return "the other is here"
    return f"silent for {duration(time.monotonic() - session.presence.heard_at)}"
