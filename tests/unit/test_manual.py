"""The man pages: what mandoc thinks of them, and that they leave nothing out."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import click
import pytest

from onion_rdv.cli.main import cli
from release import ROOT
from release.manual import commands, mdoc, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = pages(1_700_000_000)


def shown(name: str) -> str:
    """Give a page as a terminal shows it, with single spaces."""
    page = subprocess.run(
        ["mandoc", "-Tascii", "-Owidth=1000"], input=PAGES[name], text=True, stdout=subprocess.PIPE, check=True
    )
    return " ".join(re.sub(".\b", "", page.stdout).split())  # letters struck twice are bold


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing_wrong(name: str) -> None:
    lint = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning"], input=PAGES[name], text=True, stdout=subprocess.PIPE, check=False
    )
    assert (lint.returncode, lint.stdout) == (0, "")


def every_command(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        own = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from every_command(command, own)
        else:
            yield own.command_path, command


def test_every_command_and_option_is_there() -> None:
    page = shown("onion-rdv.1")
    for path, command in every_command(cli, click.Context(cli, info_name="onion-rdv")):
        beginning = page.index(f" {path} ", page.index(" COMMANDS "))
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert page.find(option.opts[0], beginning) > 0, f"{path} {option.opts[0]}"
    for code in (0, 2, 3, 4, 5, 6, 7, 8, 9, 70):
        assert str(code) in dict(commands.exit_codes())


def test_every_setting_is_there() -> None:
    page = shown("onion-rdv-server.toml.5")
    commented_out = re.sub(r"^#(?=\w+ =)", "", (ROOT / "etc" / "server.toml").read_text(), flags=re.MULTILINE)
    settings = tomllib.loads(commented_out)
    for table in (settings, settings["serve"], settings["messaging"]):
        for name, value in table.items():
            if not isinstance(value, dict):
                assert f" {name} = " in page


def test_text_that_looks_like_markup_stays_text() -> None:
    text = ".Sh is no heading, 'tis text. Say --so with C:\\name. Well-known words keep their hyphen - so"
    page = subprocess.run(
        ["mandoc", "-Tascii"],
        input="\n".join([*mdoc.head("x", 1, 0), ".Sh NAME", *mdoc.prose(text)]) + "\n",
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert " ".join(text.split()) in " ".join(page.split())
