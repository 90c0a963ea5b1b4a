"""What a run of the measurements leaves: ``results.json`` for programs, ``results.md`` for people, and pictures."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness import BENCH, said_by
from parts import times, whole
from rows import LEFT_OUT, NOT_MEASURED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parts import Run
    from rows import Curve, Row

DRAWING_PYTHON = BENCH.parent / ".venv-bench" / "bin" / "python"
PLOTS = "plots"
INTRODUCTION = """\
`make bench` writes this file. [docs/performance.md](../docs/performance.md) says how to read it: every figure is a
ratio of two things measured in turn, in rounds; the median of all rounds counts, and half of them lie within the two
figures beside it.
""".splitlines()


def write(run: Run, directory: Path) -> list[str]:
    """Write everything into a directory, and end the run; gives what else could not be done, as told lines."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [row.as_json() for found in run.measured.values() for row in found.rows]
    (directory / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    curves = [curve for found in run.measured.values() for curve in found.curves]
    undrawn = draw(curves, directory / PLOTS)
    run.end()
    (directory / "results.md").write_text(as_markdown(run, [] if undrawn else curves, undrawn))
    return undrawn


def draw(curves: Sequence[Curve], directory: Path, python: str | Path = DRAWING_PYTHON) -> list[str]:
    """Draw each curve as ``directory``/NAME.svg, and remove older ones; gives a line if that cannot be done."""
    shutil.rmtree(directory, ignore_errors=True)
    if not curves:
        return []
    directory.mkdir()
    command = [python, BENCH / "draw.py", directory]
    given = json.dumps([asdict(curve) for curve in curves])
    try:
        subprocess.run(command, input=given, text=True, check=True, capture_output=True, timeout=120)
    except OSError:
        why = "there is no .venv-bench, which has matplotlib"
    except subprocess.CalledProcessError as error:
        why = str(error.stderr).strip().rpartition("\n")[2]
    else:
        return []
    return [f"not drawn: {', '.join(curve.name for curve in curves)}: {why}"]


def as_markdown(run: Run, curves: Sequence[Curve], undrawn: Sequence[str]) -> str:
    """Put the whole report together; ``curves`` are those that were drawn."""
    return "\n".join(_lines(run, curves, undrawn)) + "\n"


def _lines(run: Run, curves: Sequence[Curve], undrawn: Sequence[str]) -> Iterator[str]:
    yield "# How fast, beside its peers: one run"
    yield ""
    yield from INTRODUCTION
    yield ""
    yield "| what | beside | median | half within | to reach | holds |"
    yield "|---|---|---:|---:|---|---|"
    for found in run.measured.values():
        yield from map(_table_row, found.rows)
    told = {name: [line for line in found.told if not _missing(line)] for name, found in run.measured.items()}
    missing = [line.partition(": ")[2] for found in run.measured.values() for line in found.told if _missing(line)]
    yield from _section("What else was seen", _told_lines(told))
    yield from _section("What could not be measured", [f"* {line}" for line in [*missing, *undrawn]])
    pictures = [f"![{curve.title}: {curve.y}, by {curve.x}.]({PLOTS}/{curve.name}.svg)" for curve in curves]
    yield from _section("Pictures", [line for picture in pictures for line in (picture, "")][:-1])
    yield from _section("The run", [f"* {what}: {how}" for what, how in machine()])
    yield f"* time for each part: {times(run.seconds)}"
    yield f"* time from start to end, with the private network's boot, and what is drawn: {whole(run.took)}"


def _table_row(row: Row) -> str:
    what, _, beside = row.name.partition(" / ")
    beside, colon, case = beside.partition(": ")
    half = "{:.3f} to {:.3f}".format(*row.quartiles) if row.ratios else ""
    median = f"{row.ratio:.3f}" if row.ratios else "not measured"
    holds = "yes" if row.holds else "**no**"
    return f"| {what}{colon}{case} | {beside} | {median} | {half} | {row.to_reach} | {holds} |"


def _told_lines(told: dict[str, list[str]]) -> list[str]:
    return [f"* {name}: {line}" for name, lines in told.items() for line in lines]


def _missing(line: str) -> bool:
    return line.startswith((NOT_MEASURED, LEFT_OUT))


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    yield ""
    yield f"## {heading}"
    yield ""
    yield from lines or ["Nothing."]


def machine() -> Iterator[tuple[str, str]]:
    """Say when and where this is, as far as it matters to the figures."""
    yield "date", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "version", _commit() or "unknown"
    yield "processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores of it"
    yield "load when it ended (1, 5, 15 minutes)", " ".join(f"{load:.1f}" for load in os.getloadavg())
    yield "system", f"{platform.system()} {platform.release()}"
    yield "Python", platform.python_version()
    yield "tor", _version(said_by("tor", "--version"))
    yield "SQLite", sqlite3.sqlite_version


def _commit() -> str:
    """Name the commit; what a run writes itself does not count as a change to it."""
    git = ("git", "-C", str(BENCH.parent))
    written = [f":!{BENCH.name}/{name}" for name in ("results.json", "results.md", PLOTS)]
    changed = said_by(*git, "status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return said_by(*git, "describe", "--always") + (", changed" if changed else "")


def _processor() -> str:
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


def _version(said: str) -> str:
    found = re.search(r"[0-9]+(\.[0-9]+)+", said)
    return found[0] if found else "not installed"
