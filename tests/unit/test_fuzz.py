"""The fuzzing of every parser: its corpus, a short run that is always the same, and that it finds what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from fuzz.harness import CORPUS, harness, harnesses

ROOT = Path(__file__).parents[2]
HARNESSES = harnesses()

NEVER_REFUSES = {"backup_seal"}
"""It seals what it is given."""

LARGEST_CORPUS = 600_000
"""Bytes of the whole, so that it can be in the repository."""

no_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris is not installed: there is none for this platform, or Python"
)


@pytest.mark.parametrize("name", HARNESSES)
def test_the_corpus_has_something_of_all_that_can_happen(name: str) -> None:
    understood = {HARNESSES[name].run(one.read_bytes()) for one in HARNESSES[name].inputs}
    assert understood == ({True} if name in NEVER_REFUSES else {True, False})


def test_the_corpus_is_of_the_harnesses_there_are_and_small() -> None:
    assert {one.name for one in CORPUS.iterdir()} == set(HARNESSES)
    assert sum(one.stat().st_size for one in CORPUS.rglob("*")) < LARGEST_CORPUS


def fuzz(*arguments: str, script: str = "", build: Path) -> subprocess.CompletedProcess[str]:
    """Fuzz as "make fuzz" does it, without measuring coverage, which would slow it down tenfold."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, *(("-c", script) if script else ("-m", "fuzz")), *arguments, "--build", str(build)]
    return subprocess.run(
        command, cwd=ROOT, env=env | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False
    )


@no_atheris
def test_a_short_run_finds_no_fault(tmp_path: Path) -> None:
    done = fuzz("--runs", "1000", "--seed", "5", build=tmp_path)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[-1] == "no fault was found"
    assert [line.split(": ")[1][:14] for line in lines[:-1]] == ["Done 1000 runs"] * len(HARNESSES)


@no_atheris
def test_a_run_finds_what_a_parser_does_wrong(tmp_path: Path) -> None:
    # It is wrong about invites alone whose passphrase has an escape in it.
    spoiled = dedent("""
        import sys
        from fuzz import guided  # first, so that the parser is watched
        from onion_rdv.protocol import invite
        check = invite._decode_passphrase
        def wrong(fragment):
            return fragment if "%" in fragment else check(fragment)
        invite._decode_passphrase = wrong
        from fuzz.__main__ import main
        sys.exit(main())
    """)
    done = fuzz("invite", "--runs", "20000", "--seed", "5", script=spoiled, build=tmp_path)
    assert done.returncode == 1, done.stdout
    (crash,) = (tmp_path / "invite").glob("crash-*")
    assert "AssertionError" in done.stdout
    # What was found can be given to it again; the parser as it is has no fault there.
    again = fuzz("invite", "--replay", str(crash), script=spoiled, build=tmp_path)
    assert "AssertionError" in again.stderr
    assert fuzz("invite", "--replay", str(crash), build=tmp_path).returncode == 0


def test_a_harness_has_the_name_of_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.harness._registered", {})

    @harness
    def some(data: bytes) -> bool:
        return bool(data)

    assert "some" in harnesses()
