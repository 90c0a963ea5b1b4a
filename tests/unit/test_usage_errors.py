"""Slips at the command line: nothing of what was typed is repeated, for it may be a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from canaries import Canaries, a_link, a_passphrase

from onion_rdv.cli.main import cli, main
from onion_rdv.cli.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give every command with the words that call it."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


EVERY = dict(commands(cli))
COMMANDS = [path for path, command in EVERY.items() if all(one.nargs == 1 for one in command.params)]
"""All but those behind which everything is another program's business."""

FREE = (click.types.StringParamType, click.types.UnprocessedParamType)


def refuses_some(parameter: click.Parameter) -> bool:
    """Tell whether there are values that click, or a check of ours, refuses while the command line is read."""
    if isinstance(parameter.type, click.Path):
        return parameter.type.exists
    return not isinstance(parameter.type, FREE)


PARAMETERS = [
    (path, one) for path, command in EVERY.items() for one in command.params if refuses_some(one) and one.nargs == 1
]


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)


def refused(words: list[str], canaries: Canaries, capsys: pytest.CaptureFixture[str]) -> str:
    """See that a command line is refused without a word of any secret; gives what is said."""
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "onion-rdv: " in printed.err
    assert not canaries.found_in(printed.err.encode())
    return printed.err


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(params=["link", "passphrase", "word"])
def secret(request: pytest.FixtureRequest, canaries: Canaries) -> str:
    texts = {"link": a_link(), "passphrase": a_passphrase(), "word": a_passphrase().replace(" ", "")}
    made = texts[request.param]
    canaries.text("secret", made, *made.split())
    return made


def test_a_group_says_which_commands_it_has(canaries: Canaries, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["auth"], canaries, capsys)
    assert said.splitlines() == [
        "onion-rdv: wrong usage: a command is missing: there are add, list and remove",
        "hint: see onion-rdv auth --help",
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_what_is_too_much(
    path: tuple[str, ...], secret: str, canaries: Canaries, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*path, *secret.split(), *[secret] * 3], canaries, capsys)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_what_stands_at_an_option_that_there_is_not(
    path: tuple[str, ...], secret: str, canaries: Canaries, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--no-such-thing", secret], [f"--no-such-thing={secret}"], ["--pasphrase", *secret.split()]):
        assert "there is no such option" in refused([*path, *words], canaries, capsys)


@pytest.mark.parametrize(("path", "parameter"), PARAMETERS, ids=str)
def test_what_stands_where_something_else_has_to(
    path: tuple[str, ...],
    parameter: click.Parameter,
    secret: str,
    canaries: Canaries,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forms = ("{}", "{} is not a number", "is a {}", "smp://{}:{}", "postgresql://user:{}@[b/", "127.0.0.1:{}")
    for value in (form.format(secret, secret) for form in forms):
        if isinstance(parameter, click.Argument):
            refused([*path, "--", value], canaries, capsys)
        else:
            refused([*path, f"{parameter.opts[0]}={value}"], canaries, capsys)


@pytest.mark.parametrize("words", [["accept"], ["info"], ["talk"], ["auth", "add"]], ids=" ".join)
def test_what_is_no_invite(
    words: list[str], secret: str, canaries: Canaries, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*words, secret], canaries, capsys)


def test_what_stands_in_a_variable(
    canaries: Canaries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = a_passphrase()
    canaries.text("secret", secret, *secret.split())
    for path, one in PARAMETERS:
        if isinstance(one, Setting):
            with monkeypatch.context() as patch:
                patch.setenv(str(one.envvar), f"smp://{secret}:postgresql://user:{secret}@[b/")
                arguments = [str(one.name) for one in EVERY[path].params if isinstance(one, click.Argument)]
                refused([*path, *arguments], canaries, capsys)
