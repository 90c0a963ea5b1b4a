"""etc/server.toml, which operators edit: it names every setting of theirs, with its true default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.main import cli
from onion_rdv.cli.settings import settings_of
from onion_rdv.cli.settings_file import OPERATORS, SettingsFile

if TYPE_CHECKING:
    from onion_rdv.cli.settings import Setting

FILE = Path(__file__).parent.parent.parent / "etc" / "server.toml"
TEXT = FILE.read_text()
ALL = re.sub(r"^#(?=[a-z_]+ = )", "", TEXT, flags=re.MULTILINE)
"""The file with every setting in it made to count."""


def operators_settings() -> dict[tuple[str | None, str], Setting]:
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in sorted(OPERATORS)]
    settings = [setting for command in commands if command is not None for setting in settings_of(command)]
    return {(setting.table, str(setting.name)): setting for setting in settings}


def in_file(text: str) -> dict[tuple[str | None, str], Any]:
    content = tomllib.loads(text)
    tables: dict[str | None, Any] = {name: content.pop(name) for name in ("serve", "messaging")}
    tables[None] = content
    return {(table, name): value for table, values in tables.items() for name, value in values.items()}


def explanations() -> dict[tuple[str | None, str], str]:
    """Give what stands before each setting."""
    table: str | None = None
    found: dict[tuple[str | None, str], str] = {}
    for paragraph in TEXT.split("\n\n"):
        if heading := re.match(r"\n?\[([a-z]+)\]", paragraph):
            table = heading[1]
        if setting := re.fullmatch(r"((?:# .*\n)+)#?([a-z_]+) = .*\n?", paragraph):
            found[table, setting[2]] = setting[1].replace("\n# ", " ")
    return found


def test_each_setting_stands_in_it_once_and_no_other() -> None:
    assert in_file(ALL).keys() == operators_settings().keys()


def test_each_is_explained_and_has_its_true_default_or_is_said_to_have_none() -> None:
    told = explanations()
    for name, value in in_file(ALL).items():
        setting = operators_settings()[name]
        if setting.multiple:
            assert value == []
        elif setting.preset is None:
            assert "Default: " in told[name] or "Without this line: " in told[name]
        else:
            assert value == setting.preset
            assert "Default" not in told[name]


def test_what_counts_in_it_as_it_ships() -> None:
    assert in_file(TEXT) == {
        (None, "state_dir"): "/var/lib/onion-rdv",
        (None, "control"): "unix:/run/tor/control",
    }


def test_all_of_it_can_be_set() -> None:
    command = cli.get_command(click.Context(cli), "completion")
    assert command is not None
    for text in (TEXT, ALL):
        SettingsFile(FILE, text, tomllib.loads(text)).check(cli, command)


def test_it_is_easy_to_read() -> None:
    assert max(len(line) for line in TEXT.splitlines()) <= 120
    for line in TEXT.splitlines():
        assert not line or line[0] in "#[" or line.startswith(("state_dir", "control"))
