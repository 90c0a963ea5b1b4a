"""What tor says about its own start, taken from the lines of its log."""

from __future__ import annotations

import re
from typing import NamedTuple

_BOOTSTRAPPED = re.compile(r"\[notice\] Bootstrapped (\d{1,3})%(?: \([^)]*\))?(?:: (.*))?$")
_PROBLEM = re.compile(r"\[(?:warn|err)\] (.*)$")
_STAMP = re.compile(r"^\w{3} \d\d \d\d:\d\d:\d\d\.\d{3} ")
_POINTS_ELSEWHERE = "see warnings above"


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
    if found is None or _POINTS_ELSEWHERE in found[1]:
        return None
    return found[1]


def text(line: str) -> str:
    """Leave out the time that a line of tor's log begins with."""
    return _STAMP.sub("", line)
