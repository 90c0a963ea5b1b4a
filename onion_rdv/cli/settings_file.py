"""The settings file: which one it is, what it says, and that all it says can be (TOML).

People have ``~/.config/onion-rdv/config.toml`` (or where ``XDG_CONFIG_HOME`` or ``ONION_RDV_CONFIG`` say). Where that
is not there, the commands of a server's operator read :data:`SYSTEM_FILE`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from onion_rdv.cli.settings import MESSAGING, SERVE, Setting, is_there, settings_of
from onion_rdv.errors import RdvError, SettingsError
from onion_rdv.tor import home

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "ONION_RDV_CONFIG"
SYSTEM_FILE = Path("/etc/onion-rdv/server.toml")

OPERATORS: Final = frozenset({"serve", "messaging", "status", "authorize", "backup", "restore", "withdraw"})
"""The commands that a server's operator runs on its machine."""

OWN_ALONE: Final = frozenset({"withdraw"})
"""The commands, of either server, that look at their own settings alone, which all stand before the first table.

What is wrong with a server's settings must not keep its onion service published when it is stopped.
"""

_TABLES: Final = (SERVE, MESSAGING)
_FIRST_TABLE: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_PLACE: Final = re.compile(r" \(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)$")


@dataclass(frozen=True)
class SettingsFile:
    """A settings file that was read; ``path`` is None where there is none. Its content may hold secrets."""

    path: Path | None = None
    text: str = field(default="", repr=False)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, command: str, *, whole: bool = True) -> SettingsFile:
        """Read the file for a command, the ``whole`` of it or what stands before its first table; see :func:`find`.

        Raises :class:`~onion_rdv.errors.SettingsError` where it cannot be read or is no TOML.
        """
        path = find(command)
        if path is None:
            return cls()
        import tomllib

        try:
            text = path.read_text(encoding="utf-8", errors="strict" if whole else "surrogateescape")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path} cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8 text'})",
                hint=f"run this as a user who may read it, or name a file of your own with {VARIABLE}",
            ) from None
        if not whole and (table := _FIRST_TABLE.search(text)):
            text = text[: table.start()]
        try:
            return cls(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            said = str(error)
            place = _PLACE.search(said)
            line = place["line"] if place and place["line"] else text.count("\n") + 1
            said = _PLACE.sub("", said)
            raise SettingsError(f"{path}, line {line}: {said[:1].lower() + said[1:]}") from None
        except (ValueError, RecursionError):  # numbers with thousands of digits, lists in lists in lists
            raise SettingsError(f"{path} holds what no setting can be") from None

    def values(self, command: click.Command) -> dict[str, Any]:
        """Give the values for a command, as click wants its defaults: by name, or for a group by command."""
        if isinstance(command, click.Group):
            context = click.Context(command)
            names = command.list_commands(context)
            commands = {name: command.get_command(context, name) for name in names}
            return {name: self.values(one) for name, one in commands.items() if one is not None}
        return {
            str(setting.name): self._table(setting.table)[str(setting.name)]
            for setting in settings_of(command)
            if setting.name in self._table(setting.table)
        }

    def where(self, setting: Setting) -> str:
        """Give the place of a setting in the file: its path and the line."""
        return self._where(setting.table, str(setting.name))

    def check(self, every: click.Group, command: click.Command) -> None:
        """Check all that the file says, whichever of the commands in ``every`` it is meant for.

        Whether a file or directory that it names is one is looked at for ``command`` alone. Raises
        :class:`~onion_rdv.errors.SettingsError` that names file and line.
        """
        known: dict[str | None, dict[str, Setting]] = {None: {}, **{name: {} for name in _TABLES}}
        own = {(setting.table, str(setting.name)): setting for setting in settings_of(command)}
        only_own = self._names() <= own.keys()  # then the other commands, which all have to be imported, are let be
        for setting in own.values() if only_own else settings_of(every):
            known[setting.table][str(setting.name)] = setting
        for name, value in self.content.items():
            if name not in _TABLES:
                self._check_name(None, name, known[None])
                self._check_value(known[None][name], value, looks=(None, name) in own)
            elif not isinstance(value, dict):
                raise SettingsError(f"{self._where(None, name)}: {name} has to be a table")
        for table in _TABLES:
            for name, value in self._table(table).items():
                self._check_name(table, name, known[table])
                self._check_value(known[table][name], value, looks=(table, name) in own)

    def check_own(self, command: click.Command) -> None:
        """Check what the file says for one command, and nothing else in it; raises as :meth:`check` does."""
        for setting in settings_of(command):
            table = self._table(setting.table)
            if setting.name in table:
                self._check_value(setting, table[setting.name], looks=True)

    def _names(self) -> set[tuple[str | None, str]]:
        """Give the table and the name of everything that is set."""
        top = {(None, name) for name in self.content if name not in _TABLES}
        return top | {(table, name) for table in _TABLES for name in self._table(table)}

    def _check_name(self, table: str | None, name: str, known: Mapping[str, Setting]) -> None:
        if name not in known:
            here = "" if table is None else f" in [{table}]"
            raise SettingsError(
                f"{self._where(table, name)}: unknown setting {name!r}",
                hint=f"known{here} are {', '.join(sorted(known))}",
            )

    def _check_value(self, setting: Setting, value: object, *, looks: bool) -> None:
        name = str(setting.name)
        if not setting.fits(value):
            items = value if setting.multiple and isinstance(value, list) else ()
            place = next((i for i, one in enumerate(items) if not isinstance(one, str)), None)
            raise SettingsError(f"{self._where(setting.table, name, place)}: {name} has to be {setting.kind}")
        for place, one in enumerate(value) if isinstance(value, list) else ((None, value),):
            wrong = _what_is_wrong(setting, one, looks=looks)
            if wrong is not None:
                where = self._where(setting.table, name, place)
                raise SettingsError(f"{where}: {name}: {wrong.detail}", hint=wrong.hint)

    def _table(self, name: str | None) -> Mapping[str, Any]:
        if name is None:
            return self.content
        table = self.content.get(name, {})
        return table if isinstance(table, dict) else {}

    def _where(self, table: str | None, name: str, place: int | None = None) -> str:
        from onion_rdv.cli.toml_lines import find_line

        keys = (name,) if table is None else (table, name)
        return f"{self.path}, line {find_line(self.text, keys, place)}"


def find(command: str) -> Path | None:
    """Say which file a command reads; None where there is none.

    Raises :class:`~onion_rdv.errors.SettingsError` where the one that the environment names is not there, or where it
    names none and this user has no home.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not is_there(Path(named)):
            raise SettingsError(f"there is no file {named}, which {VARIABLE} names")
        return Path(named)
    own = home.config() / "config.toml"
    files = (own, SYSTEM_FILE) if command in OPERATORS else (own,)
    return next((file for file in files if is_there(file)), None)


def _what_is_wrong(setting: Setting, value: object, *, looks: bool) -> SettingsError | None:
    """Have click and the setting's own check look at one value, and, where asked for, at what is at a path."""
    if value == "":
        return SettingsError("it is empty", hint="take the line away for the default")
    if isinstance(value, str) and "\0" in value:
        return SettingsError("it has a zero byte")
    if isinstance(setting.type, click.Path) and not looks:
        return None
    try:
        setting.type.convert(value, setting, None)
    except RdvError as error:
        return SettingsError(error.message, hint=error.hint)
    except click.BadParameter as error:
        said = error.message.rstrip(".")
        return SettingsError(said[:1].lower() + said[1:])
    return None
