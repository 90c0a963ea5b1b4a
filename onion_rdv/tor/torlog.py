"""What tor says about its own start, taken from the lines of its log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_BOOTSTRAPPED = re.compile(r"\[notice\] Bootstrapped (\d{1,3})%(?: \([^)]*\))?(?:: (.*))?$")
_PROBLEM = re.compile(r"\[(?:warn|err)\] (.*)$")
_STAMP = re.compile(r"^\w{3} \d\d \d\d:\d\d:\d\d\.\d{3} ")
_POINTS_ABOVE = "see warnings above"
_SEE_LOGS = " See logs for details."
_REFUSES = "Failed to parse/validate config: "


class Bootstrap(NamedTuple):
    """How far tor has come (control-spec, "Bootstrap phases"): 0 to 100, and what it does now."""

    percent: int
    summary: str


def bootstrap(line: str) -> Bootstrap | None:
    """Read a line of tor's log (level notice) as a step of its start; None when it is none."""
    found = _BOOTSTRAPPED.search(line)
    if found is None:
        return None
    summary = found[2] or ""
    return Bootstrap(int(found[1]), summary[:1].lower() + summary[1:])


def problem(line: str) -> str | None:
    """Read a line of tor's log as a warning or an error; None when it is none or says nothing by itself."""
    found = _PROBLEM.search(line)
    if found is None or _POINTS_ABOVE in found[1]:
        return None
    return found[1]


def text(line: str) -> str:
    """Leave out the time that a line of tor's log begins with."""
    return _STAMP.sub("", line)


def refusal(lines: list[str]) -> str:
    """Find in what tor said before it ended by itself why it did; empty when it did not say."""
    problems = [found for found in map(problem, lines) if found]
    if not problems:
        return ""
    reason = problems[-1].removeprefix(_REFUSES)
    if reason.endswith(_SEE_LOGS):
        reason = reason.removesuffix(_SEE_LOGS)
        reason = "; ".join([*problems[-2:-1], reason])
    return reason


class Follower:
    """Reads a log that tor goes on writing; every :meth:`read` takes in what has come since.

    ``problem`` is the last warning or error, ``last_line`` the last line of any kind, both empty at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = 0
        self._reset()

    def begin_run(self) -> None:
        """Leave aside what is there: what comes from now on is the log of a new run."""
        self.read()
        self._reset()

    def _reset(self) -> None:
        self.bootstrap = Bootstrap(0, "starting")
        self.problem = ""
        self.last_line = ""

    def read(self) -> None:
        """Take in the whole lines that were added; a log that does not exist yet is an empty one."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._taken)
                added = log.read()
        except FileNotFoundError:
            return
        whole, newline, _ = added.rpartition(b"\n")
        self._taken += len(whole) + len(newline)
        for line in whole.decode(errors="replace").splitlines():
            step = bootstrap(line)
            if step is not None and step.percent == 0:
                self.problem = ""  # what it had to say about its torrc did not stop it
            self.bootstrap = step or self.bootstrap
            self.problem = problem(line) or self.problem
            self.last_line = text(line) or self.last_line
