"""Advisories that somebody has looked at and that do not concern us: ``advisories.toml`` beside this module."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from release import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ADVISORIES: Final = ROOT / "release" / "advisories.toml"

LONGEST: Final = timedelta(days=183)
"""How far ahead the day may be on which somebody has to look again."""

_ENOUGH: Final = 30
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One of them: any of its ids, the package's name as it is locked, why it does not concern us, and until when."""

    id: str
    package: str
    why: str
    until: date

    def fault(self, today: date) -> str | None:
        """Say what is wrong with it today."""
        if len(self.why) < _ENOUGH:
            return "it does not say why"
        if self.until < today:
            return f"it is out of date since {self.until}: look at the advisory again"
        if self.until > today + LONGEST:
            return f"it is for longer than {LONGEST.days} days"
        return None


def reviewed(path: Path = ADVISORIES) -> list[Reviewed]:
    """Read the file; raises ValueError for anything that does not belong there."""
    document = tomllib.loads(path.read_text())
    entries = document.pop("advisory", [])
    if document or not isinstance(entries, list):
        raise ValueError(f"{path.name}: it is a list of [[advisory]] and nothing else")
    kinds = {"id": str, "package": str, "why": str, "until": date}
    for entry in entries:
        if {name: type(value) for name, value in entry.items()} != kinds:
            raise ValueError(f"{path.name}: an advisory has id, package, why and until, a date, and nothing else")
    return [Reviewed(**entry) for entry in entries]
