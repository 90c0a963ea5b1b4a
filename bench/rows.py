"""What every measurement ends as: a ratio of two things timed in turn in one run, beside the bound it should keep."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure: the ratios of its rounds, whose median is to keep ``bound``; ``better`` is low or high."""

    name: str
    ratios: Sequence[float]
    bound: float
    better: Literal["low", "high"]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool:
        return self.ratio <= self.bound if self.better == "low" else self.ratio >= self.bound

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ratio": round(self.ratio, 4),
            "least": round(min(self.ratios), 4),
            "most": round(max(self.ratios), 4),
            "bound": self.bound,
            "better": self.better,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Curve:
    """What a figure becomes as something grows, for one picture: for each thing, its points (x, y)."""

    name: str
    """Names the file, too: lower-case words and hyphens."""
    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    logarithmic: bool = False
    """Whether both axes are."""


@dataclass(frozen=True)
class Measured:
    """What a part of the measurements found."""

    rows: Sequence[Row]
    told: Sequence[str] = field(default=())
    """What is worth knowing and has no bound, and what could not be measured, a line for each."""
    curves: Sequence[Curve] = field(default=())


def show(rows: Iterable[Row]) -> None:
    """Print a table."""
    print(f"{'what':<62} {'median':>8} {'least':>8} {'most':>8}   bound")
    for row in rows:
        sign = "<=" if row.better == "low" else ">="
        verdict = "holds" if row.holds else "DOES NOT HOLD"
        print(
            f"{row.name:<62} {row.ratio:8.3f} {min(row.ratios):8.3f} {max(row.ratios):8.3f}"
            f"   {sign} {row.bound:g}  {verdict}"
        )


def write(rows: Iterable[Row], path: Path) -> None:
    """Write the rows for programs."""
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
