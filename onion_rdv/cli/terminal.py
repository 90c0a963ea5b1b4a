"""Everything that is printed goes through here, and obeys these rules.

* Results go to stdout and nothing else does; ``--json`` makes them one JSON object on one line.
* Everything for a person's eyes (what is being done, warnings, errors, progress) goes to stderr.
* ``onion-rdv: ...`` says what is wrong, ``hint: ...`` what to do about it; lower case, no full stop.
* Whatever came over the network or out of a link is escaped before a terminal sees it.
* A secret is printed only where it is the result that was asked for, and never into a journal.
* In a journal every line to stderr has its priority.
* A result that cannot be written ends the command; that nobody can be told something does not.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TextIO

import click

from onion_rdv.errors import NobodyReads, OutputLost, UsageError
from onion_rdv.systemd.journal import Priority, is_journal, with_priority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from onion_rdv.errors import RdvError

_BAR_CELLS = 24


def emit(text: str) -> None:
    """Print a result; in UTF-8 where the encoding of stdout lacks a character, for nothing of it may be lost.

    Raises :class:`~onion_rdv.errors.OutputLost` or :class:`~onion_rdv.errors.NobodyReads` where it cannot be written.
    """
    try:
        try:
            click.echo(text)
        except UnicodeEncodeError:  # raised before anything was written
            click.echo(text.encode())
    except OSError as error:
        raise lost(error) from None


@contextmanager
def results_by_click() -> Iterator[None]:
    """Raise the same where click prints by itself, as it does help: for the OSErrors of stdout, and no others."""
    try:
        yield
    except OSError:
        try:
            sys.stdout.flush()  # what could not be written is there still
        except OSError as error:
            raise lost(error) from None
        raise


def lost(error: OSError) -> OutputLost | NobodyReads:
    """Give what to raise where stdout cannot be written; nothing else is tried with it."""
    _give_up(sys.stdout)
    return NobodyReads() if isinstance(error, BrokenPipeError) else OutputLost(error.strerror or "")


def _give_up(stream: TextIO) -> None:
    """Have all that is still to come, and what Python holds back to try again at its end, written nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def emit_json(result: dict[str, Any]) -> None:
    """Print a result for programs: one JSON object on one line, with escapes where a terminal might act on it."""
    emit(as_json(result))


def as_json(result: dict[str, Any]) -> str:
    """Give the line that :func:`emit_json` prints."""
    text = json.dumps(result, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def say(text: str = "", priority: Priority = Priority.INFO) -> None:
    """Tell the person something that is not a result."""
    _tell(as_told(text, priority))


def as_told(text: str, priority: Priority = Priority.INFO) -> str:
    """Give the line that :func:`say` prints."""
    return with_priority(text, priority) if is_journal(sys.stderr) else text


def _tell(text: str, *, nl: bool = True) -> None:
    try:
        click.echo(text, err=True, nl=nl)
    except OSError:
        _give_up(sys.stderr)


def warn(text: str) -> None:
    """Tell the person about something that may be wrong."""
    say(f"onion-rdv: warning: {text}", Priority.WARNING)


def complain(error: RdvError) -> None:
    """Say what went wrong and what to do about it."""
    say(f"onion-rdv: {printable(error.message)}", Priority.ERROR)
    if error.hint:
        say(f"hint: {printable(error.hint)}", Priority.ERROR)


def printable(text: str) -> str:
    """Show control characters, and whatever else a terminal might act on, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def refuse_journal(what: str, *, on_stderr: bool = False) -> None:
    """Raise :class:`~onion_rdv.errors.UsageError` where a secret that is about to be printed would stay in a journal.

    It goes to stdout, and to stderr too where that is said.
    """
    if is_journal(sys.stdout) or (on_stderr and is_journal(sys.stderr)):
        raise UsageError(
            f"{what} would be kept in the system's journal, where the output goes",
            hint="run this in a terminal, or take its output with --json through a pipe",
        )


class ProgressBar:
    """A bar on a terminal, a few plain lines elsewhere; call it with a percentage and what is being done."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = sys.stderr.isatty()
        self._last: tuple[int, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, percent: int, what: str) -> None:
        """Show that ``percent`` (0 to 100) is done and what comes now."""
        if (percent, what) == self._last:
            return
        if self._live:
            filled = _BAR_CELLS * percent // 100
            bar = "█" * filled + "░" * (_BAR_CELLS - filled)
            _tell(f"\r\x1b[2K{self._title} {bar} {percent:3d}% {printable(what)}", nl=False)
        elif self._last is None or percent >= 100 or percent // 25 > self._last[0] // 25:
            say(f"{self._title}: {percent}% {printable(what)}")
        self._last = (percent, what)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Leave the bar as it stands, so that something else can be said; the next call begins a new one."""
        if self._live and self._last is not None:
            say()
        self._last = None
