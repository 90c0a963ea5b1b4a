"""What the measurements leave: rows that hold or do not, a report, and a run that goes on when a part cannot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import parts
import pytest
import report
import server
from parts import Part, Run, at_most, choose, run
from rows import LEFT_OUT, NOT_MEASURED, Curve, Measured, Row, alone, show
from server import Thing

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LOW = Row("accept without the network / its one Argon2id call", [1.01, 1.03, 1.02], 1.02, "low")
HIGH = Row("fetches a second / nginx: 16 connections", [0.2, 0.4, 0.3, 0.1], 0.35, "high")
CURVE = Curve("memory-of-the-server", "Memory", "buckets", "MiB", {"ours": [(100, 50.0), (1000, 51.0)]})


@contextlib.contextmanager
def no_network() -> Iterator[str]:
    yield "a network"


def found(*rows: Row, told: tuple[str, ...] = (), curves: tuple[Curve, ...] = ()) -> Part:
    return Part("found", 1, lambda: Measured(rows, told, curves))


def fail() -> Measured:
    raise FileNotFoundError("no such peer")


@pytest.mark.parametrize(
    ("ratios", "bound", "better", "holds"),
    [
        ([1.0, 1.02, 9.0], 1.02, "low", True),
        ([1.0, 1.03, 9.0], 1.02, "low", False),
        ([0.1, 0.95, 2.0], 0.95, "high", True),
        ([0.1, 0.94, 2.0], 0.95, "high", False),
        ([2.0], 2.0, "low", True),
    ],
)
def test_the_median_is_held_against_the_bound(ratios: list[float], bound: float, better: str, holds: bool) -> None:
    row = Row("one / other", ratios, bound, "low" if better == "low" else "high")
    assert row.holds is holds
    assert run([found(row)], no_network).holds is holds
    given = row.as_json()
    assert {"name": "one / other", "bound": bound, "better": better, "holds": holds}.items() <= given.items()
    assert given["ratio"] == row.ratio
    assert given["least"] <= given["first_quartile"] <= given["ratio"] <= given["third_quartile"] <= given["most"]


def test_rows_are_written_for_programs(tmp_path: Path) -> None:
    report.write(run([found(LOW, HIGH)], no_network), tmp_path / "new")
    rows = json.loads((tmp_path / "new" / "results.json").read_text())
    assert [(row["name"], row["ratio"], row["bound"], row["better"], row["holds"]) for row in rows] == [
        (LOW.name, 1.02, 1.02, "low", True),
        (HIGH.name, 0.25, 0.35, "high", False),
    ]


def test_the_report_says_what_was_measured_beside_what_and_what_was_not() -> None:
    missing = f"{NOT_MEASURED}nginx is not installed"
    done = run([found(LOW, HIGH, told=("stores: 9 a second", missing))], no_network)
    text = report.as_markdown(done, [CURVE], [])
    lines = text.splitlines()
    assert (
        "| accept without the network | its one Argon2id call | 1.020 | 1.015 to 1.025 | at most 1.02 | yes |"
        in lines
    )
    assert "| fetches a second: 16 connections | nginx | 0.250 | 0.175 to 0.325 | at least 0.35 | **no** |" in lines
    sections = dict(re.findall(r"^## (.+)\n\n((?:(?!## ).*\n)*)", text, re.MULTILINE))
    assert sections["What else was seen"].strip() == "* found: stores: 9 a second"
    assert sections["What could not be measured"].strip() == "* nginx is not installed"
    assert "(plots/memory-of-the-server.svg)" in sections["Pictures"]
    assert re.search(r"^\* SQLite: 3\.", sections["The run"], re.MULTILINE)
    assert re.search(r"^\* processor: .+ cores of it$", sections["The run"], re.MULTILINE)
    assert re.search(r"^\* date: 20[0-9-]+ [0-9:]+ UTC$", sections["The run"], re.MULTILINE)


@pytest.mark.parametrize("prefix", [NOT_MEASURED, LEFT_OUT])
def test_what_is_missing_is_told_and_does_not_hold_if_it_should_be_there(prefix: str) -> None:
    row = Row("one / other", [1.0], 2, "low")
    done = run([found(row, told=(f"{prefix}something",))], no_network)
    assert done.holds is (prefix == LEFT_OUT)
    (section,) = re.findall(r"## What could not be measured\n\n(.*)\n", report.as_markdown(done, [], []))
    assert section == "* something"


def test_a_row_that_was_not_measured_is_there_and_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for better in ("low", "high"):
        row = Row("one / a peer that is missing", [], 1, "low" if better == "low" else "high")
        done = run([found(LOW, row)], no_network)
        assert not done.holds
        report.write(done, tmp_path)
        measured, missing = json.loads((tmp_path / "results.json").read_text())
        assert missing.keys() == measured.keys()
        assert missing["ratio"] is None
        assert missing["holds"] is False
        assert "| one | a peer that is missing | not measured |  | at " in (tmp_path / "results.md").read_text()
        show([row])
        assert re.search("missing +not measured +at .* NO$", capsys.readouterr().out, re.MULTILINE)


def test_peers_that_are_missing_leave_their_rows() -> None:
    rows, _ = server.conclude({Thing(server.STORES, server.FEW): [1.0]})
    assert [row.bound for row in rows] == [one.bound for one in server.ROWS]
    assert not any(row.holds for row in rows)


def test_a_run_that_takes_ten_minutes_does_not_hold(tmp_path: Path) -> None:
    for ago, holds in ((0.0, True), (parts.LIMIT, False)):
        begun = Run(begun=time.monotonic() - ago)
        done = run([found(Row("one / other", [1.0], 2, "low"))], no_network, begun)
        report.write(done, tmp_path)
        assert done.holds is holds
        said = re.search(
            r"^\* time from start to end.*: (\d+) s(, and 600 s are too long)?$",
            (tmp_path / "results.md").read_text(),
            re.MULTILINE,
        )
        assert said is not None
        assert ago <= int(said[1]) < ago + 60
        assert (said[2] is None) is holds


def test_a_part_that_fails_is_told_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    done = run([Part("broken", 1, fail), found(Row("one / other", [1.0], 2, "low"))], no_network)
    assert done.failed == ["broken"]
    assert not done.holds
    assert [row.name for part in done.measured.values() for row in part.rows] == ["one / other"]
    (line,) = done.measured["broken"].told
    assert line.startswith(NOT_MEASURED)
    assert "no such peer" in line
    assert f"* {line.removeprefix(NOT_MEASURED)}" in report.as_markdown(done, [], [])
    assert "2 of 2: found" in capsys.readouterr().err


def test_the_network_is_booted_once_for_those_that_want_it_and_after_the_others() -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def network() -> Iterator[str]:
        events.append("up")
        yield "a network"
        events.append("down")

    def on(given: str) -> Measured:
        events.append(f"on {given}")
        return Measured([])

    def off() -> Measured:
        events.append("off")
        return Measured([])

    run([Part("a", 1, on, on_network=True), Part("b", 1, off), Part("c", 1, on, on_network=True)], network)
    assert events == ["off", "up", "on a network", "on a network", "down"]
    events.clear()
    run([Part("b", 1, off)], network)
    assert events == ["off"]


def test_without_a_network_only_what_wants_it_fails() -> None:
    @contextlib.contextmanager
    def network() -> Iterator[str]:
        raise OSError("no tor")
        yield ""

    done = run([Part("way", 1, lambda _: Measured([LOW]), on_network=True), found(HIGH)], network)
    assert done.failed == ["way"]
    assert done.measured["found"].rows == (HIGH,)


def test_a_part_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied = []

    def hang() -> Measured:
        try:
            time.sleep(60)
        finally:
            tidied.append("tidied")
        return Measured([])

    limits = iter([0.05, 60])  # of the first part, and of the second
    monkeypatch.setattr("parts.at_most", lambda _: at_most(next(limits)))
    done = run([Part("hanging", 1, hang), found(Row("one / other", [1.0], 2, "low"))], no_network)
    assert done.failed == ["hanging"]
    assert tidied == ["tidied"]
    assert "found" in done.measured


def test_an_interrupt_ends_the_run_and_what_it_started(tmp_path: Path) -> None:
    script = """
import os, signal, sys, contextlib
from harness import BENCH, server
from parts import Part, run

def measure():
    with server(sys.executable, BENCH / "bare.py", sys.argv[1]) as process:
        print(process, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

try:
    run([Part("bare", 1, measure)], contextlib.nullcontext)
except KeyboardInterrupt:
    sys.exit(130)
"""
    env = os.environ | {"PYTHONPATH": str(ROOT / "bench")}
    command = [sys.executable, "-c", script, str(tmp_path / "socket")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_parts_are_chosen_by_name() -> None:
    parts = [Part("client", 1, fail), Part("server", 1, fail), Part("blocks", 1, fail)]
    assert [part.name for part in choose(parts, [])] == ["client", "server", "blocks"]
    assert [part.name for part in choose(parts, ["blocks", "client"])] == ["client", "blocks"]
    with pytest.raises(ValueError, match="'serv': there are client, server, blocks"):
        choose(parts, ["serv"])


def test_what_draws_is_handed_the_curves(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncat > "$2/given.json"\n')
    python.chmod(0o755)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.svg").write_text("from an earlier run")
    assert report.draw([CURVE], tmp_path / "plots", python) == []
    (given,) = json.loads((tmp_path / "plots" / "given.json").read_text())
    given["lines"] = {name: [tuple(point) for point in points] for name, points in given["lines"].items()}
    assert Curve(**given) == CURVE
    assert not (tmp_path / "plots" / "old.svg").exists()


@pytest.mark.skipif(not report.DRAWING_PYTHON.exists(), reason="what draws is installed by make bench alone")
def test_the_same_curves_give_the_same_picture(tmp_path: Path) -> None:
    pictures = []
    for name in ("one", "other"):
        assert report.draw([CURVE], tmp_path / name) == []
        pictures.append((tmp_path / name / "memory-of-the-server.svg").read_text())
    assert pictures[0] == pictures[1]
    assert "<title>Memory</title>" in pictures[0]
    assert "MiB, by buckets. ours: 50 at 100, 51 at 1,000" in pictures[0]
    assert re.search("<text [^>]*>ours</text>", pictures[0])


def test_where_nothing_draws_the_report_says_so(tmp_path: Path) -> None:
    (line,) = report.draw([CURVE], tmp_path / "plots", tmp_path / "missing")
    assert "memory-of-the-server" in line
    assert ".venv-bench" in line
    (line,) = report.draw([CURVE], tmp_path / "plots", Path(sys.executable))  # which has no matplotlib
    assert "matplotlib" in line
    assert f"* {line}" in report.as_markdown(run([], no_network), [], [line])


def test_a_part_alone_takes_its_numbers_as_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(network: str, rounds: int = 3, seconds: float = 1.0, directory: Path | None = None) -> Measured:
        assert network == "a network"
        return Measured([LOW if rounds == 3 else HIGH], [f"{seconds} s in {directory}"])

    for options, code in (([], 0), (["--rounds", "2", "--seconds", "0.5", "--directory", "there"], 1)):
        monkeypatch.setattr(sys, "argv", ["part", *options])
        with pytest.raises(SystemExit) as ended:
            alone(measure, no_network)
        assert ended.value.code == code
    said = capsys.readouterr().out
    assert "1.0 s in None" in said
    assert "0.5 s in there" in said
    assert re.search(r"at least 0\.35 +NO$", said, re.MULTILINE)


def test_all_parts_are_documented_and_fit_into_ten_minutes() -> None:
    from run import PARTS

    text = (ROOT / "docs" / "performance.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [part.name for part in PARTS]
    rest = 30  # for what belongs to no part, and for a machine that is slower by a twentieth
    assert sum(part.seconds for part in PARTS) + parts.BOOTING + rest < parts.LIMIT
