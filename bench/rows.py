"""What every measurement ends as: a ratio of two things timed in turn in one run, beside the bound it should keep."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import math
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

NOT_MEASURED = "not measured: "
"""How a told line begins that says what was not measured and should have been, and why; nothing holds then."""

LEFT_OUT = "left out: "
"""How one begins that says what is not even tried, and why."""


@dataclass(frozen=True)
class Row:
    """One figure: the ratios of its rounds, whose median is to keep ``bound``; ``better`` is low or high.

    ``name`` says what is measured beside what, and in which case: "what / beside", or "what / beside: case". What was
    not measured has no ratios, and does not hold.
    """

    name: str
    ratios: Sequence[float]
    bound: float
    better: Literal["low", "high"]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios) if self.ratios else math.nan

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between what half of the rounds lie."""
        if len(self.ratios) <= 1:
            return self.ratio, self.ratio
        first, _, third = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return first, third

    @property
    def holds(self) -> bool:
        # Whatever the bound is, "not a number" does not keep it.
        return self.ratio <= self.bound if self.better == "low" else self.ratio >= self.bound

    @property
    def to_reach(self) -> str:
        return f"at {'most' if self.better == 'low' else 'least'} {self.bound:.3g}"

    def as_json(self) -> dict[str, Any]:
        """Give it for ``results.json``, with null for each figure that there is not."""
        first, third = self.quartiles
        figures = {
            "ratio": self.ratio,
            "least": min(self.ratios, default=math.nan),
            "first_quartile": first,
            "third_quartile": third,
            "most": max(self.ratios, default=math.nan),
        }
        return {
            "name": self.name,
            **{name: round(figure, 4) if self.ratios else None for name, figure in figures.items()},
            "rounds": len(self.ratios),
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
    """What is worth knowing and has no bound, and (with NOT_MEASURED, LEFT_OUT) what is missing; lines."""
    curves: Sequence[Curve] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether all was measured, and keeps its bound."""
        is_complete = not any(line.startswith(NOT_MEASURED) for line in self.told)
        return is_complete and all(row.holds for row in self.rows)


def show(rows: Iterable[Row]) -> None:
    """Print a table."""
    rows = list(rows)
    width = max((len(row.name) for row in rows), default=0)
    print(f"{'what / beside':<{width}} {'median':>9} {'half within':>19}   {'to reach':<15} holds")
    for row in rows:
        within = "{:.3f} - {:.3f}".format(*row.quartiles) if row.ratios else "not measured"
        median = f"{row.ratio:.3f}" if row.ratios else ""
        print(f"{row.name:<{width}} {median:>9} {within:>19}   {row.to_reach:<15} {'yes' if row.holds else 'NO'}")


def end(measured: Measured) -> NoReturn:
    """End a part that was run alone: print what it found; the exit code says whether everything holds."""
    show(measured.rows)
    print(*measured.told, sep="\n")
    sys.exit(not measured.holds)


_OPTIONS = {
    "seconds": "how long each is asked in a round",
    "rounds": "how often each is measured",
    "directory": "where stores are kept meanwhile, on a disk of interest",
}


def alone(
    measure: Callable[..., Measured], network: Callable[[], AbstractContextManager[Any]] | None = None
) -> NoReturn:
    """Run a part alone, on a ``network`` if it wants one, with options for what ``measure`` has defaults for."""
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(measure)))
    for name, argument in inspect.signature(measure).parameters.items():
        if argument.default is not inspect.Parameter.empty:
            kind = Path if argument.default is None else type(argument.default)
            parser.add_argument(f"--{name}", type=kind, default=argument.default, help=_OPTIONS.get(name))
    options = vars(parser.parse_args())
    with contextlib.ExitStack() as running:
        given = [running.enter_context(network())] if network else []
        measured = measure(*given, **options)
    end(measured)
