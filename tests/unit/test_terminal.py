"""What is printed, and where: the rules of cli/terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command_line import environment
from terminal import at_a_terminal

from onion_rdv.cli import passphrases
from onion_rdv.cli.terminal import ProgressBar, complain, printable, say
from onion_rdv.errors import ClientAuthorizationNeeded, RdvError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_errors_are_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    complain(UsageError("what was wrong", hint="what to do"))
    complain(ClientAuthorizationNeeded())
    complain(RdvError("no hint", hint=""))
    assert capsys.readouterr().err.splitlines() == [
        "onion-rdv: wrong usage: what was wrong",
        "hint: what to do",
        "onion-rdv: that onion service wants client authorization",
        "hint: it is a private server: ask its operator for access, and give what they send to onion-rdv auth add",
        "onion-rdv: something went wrong inside onion-rdv: no hint",
    ]


def test_a_result_is_not_lost_where_stdout_has_no_such_characters(tmp_path: Path) -> None:
    program = (
        "from onion_rdv.cli.terminal import *\n"
        "emit('https://example.org/é')\n"
        "emit('https://example.org/世')\n"
        "emit_json({'link': 'https://example.org/世\x1b'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path, PYTHONIOENCODING="latin-1"),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    latin, link, line = done.stdout.splitlines()
    assert latin.decode("latin-1") == "https://example.org/é"
    assert link.decode() == "https://example.org/世"
    assert json.loads(line) == {"link": "https://example.org/世\x1b"}


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[2Jb\r\n\u202e\x9bé") == r"a\x1b[2Jb\r\n\u202e\x9bé"


def test_progress_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("tor") as progress:
        for percent in range(101):
            progress(percent, "loading")
        progress(100, "loading")
    assert capsys.readouterr().err.splitlines() == [
        "tor: 0% loading", "tor: 25% loading", "tor: 50% loading", "tor: 75% loading", "tor: 100% loading"
    ]  # fmt: skip


async def test_progress_at_a_terminal_is_one_line(tmp_path: Path) -> None:
    program = (
        "from onion_rdv.cli.terminal import *\n"
        "with ProgressBar('tor') as progress:\n"
        "    for percent in range(0, 101, 10): progress(percent, 'loading\\x1b')\n"
        "say('done')\n"
    )
    code, screen = await at_a_terminal([sys.executable, "-c", program], [], environment(tmp_path, TERM="xterm"))
    assert code == 0
    last, done = screen.rstrip("\r\n").split("\n")
    assert done == "done"
    assert last.count("\r\x1b[2K") == 11
    assert "100% loading\\x1b" in last


def test_say_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("to whom it may concern")
    assert capsys.readouterr() == ("", "to whom it may concern\n")


# Passphrases


def test_made_passphrases() -> None:
    made = {passphrases.make() for _ in range(50)}
    assert len(made) == 50
    assert all(len(passphrase.split(" ")) == 5 for passphrase in made)
    assert all(passphrase.replace(" ", "").isalpha() for passphrase in made)
    assert len(passphrases.make(8).split()) == 8


@pytest.mark.parametrize(
    ("passphrase", "weak"),
    [("hunter2", True), ("password", True), ("1984-06-12", True), ("x" * 500, True), ("otter mango", True)],
)
def test_weak_passphrases(passphrase: str, weak: bool) -> None:
    assert passphrases.measure(passphrase).weak is weak


def test_strong_passphrases() -> None:
    assert not passphrases.measure(passphrases.make()).weak
    assert not passphrases.measure_words(5).weak
    assert passphrases.measure_words(3).weak


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "less than a second"),
        (1, "1 second"),
        (7300, "2 hours"),
        (400 * 86400, "1 year"),
        (99 * 365 * 86400, "99 years"),
        (1e12, "centuries"),
    ],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert passphrases.Strength(seconds).words == words
