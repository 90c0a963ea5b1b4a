"""Settings: an option on the command line, else ``ONION_RDV_NAME``, else the file, else the default.

A setting is declared once, by :func:`option`, where a command takes it. What the settings file may hold follows from
that: a setting is a key there, the option's name with underscores, at the top or in the table that the declaration
names. :mod:`onion_rdv.cli.settings_file` reads and checks the file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from onion_rdv.tor import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SERVE: Final = "serve"
"""The table of the rendezvous server's settings, for every command that has to do with it."""

MESSAGING: Final = "messaging"
"""The table of the messaging server's settings."""

EPILOG = (
    "Options can be set for good, as name = value in ~/.config/onion-rdv/config.toml or as ONION_RDV_NAME in the"
    " environment: timeout = 90, ONION_RDV_TIMEOUT=90."
)
"""What the help of every command with such options ends with."""


class Setting(click.Option):
    """An option that can also be set in the environment and in the settings file.

    ``table`` is the table that it stands in there, None where it stands at the top; the value of a ``secret`` one is
    not shown to anybody: it is a URL that can have a password in it.
    """

    def __init__(self, *arguments: Any, table: str | None = None, secret: bool = False, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.table = table
        self.secret = secret

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Give the value and where it came from, as click does; a password on the command line is hidden there."""
        value, source = super().consume_value(ctx, opts)
        if self.secret and source is ParameterSource.COMMANDLINE and not ctx.resilient_parsing:
            from onion_rdv.cli.secret_input import hide_password

            hide_password(self.opts, str(value), str(self.envvar))
        return value, source

    @property
    def kind(self) -> str:
        """What its value in the file has to be, in words."""
        if self.multiple:
            return "a list of strings"
        if self.is_flag:
            return "true or false"
        if isinstance(self.type, click.types.FloatParamType):
            return "a number"
        return "a whole number" if isinstance(self.type, click.types.IntParamType) else "a string"

    @property
    def preset(self) -> str | float | None:
        """Its default, true and false among the numbers; None where there is none, or where it is a list."""
        return self.default if isinstance(self.default, str | int | float) else None

    def fits(self, value: object) -> bool:
        """Whether a value from the file is of the right kind."""
        match self.kind:
            case "a list of strings":
                return isinstance(value, list) and all(isinstance(item, str) for item in value)
            case "true or false":
                return isinstance(value, bool)
            case "a string":
                return isinstance(value, str)
            case "a number":
                return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return isinstance(value, int) and not isinstance(value, bool)  # python takes true for a number


def option(
    *names: str, table: str | None = None, secret: bool = False, **attributes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a setting; see :class:`Setting`. Its variable is ``ONION_RDV_NAME``."""
    name = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "ONION_RDV_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, cls=Setting, table=table, secret=secret, envvar=variable, **attributes)


def settings_of(command: click.Command) -> Iterator[Setting]:
    """Give the settings that a command takes, or all commands of a group."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            if one is not None:
                yield from settings_of(one)
    else:
        yield from (parameter for parameter in command.params if isinstance(parameter, Setting))


def variable_of(parameter: click.Parameter | None, context: click.Context | None) -> str | None:
    """Give the variable that an option's value came from, where it came from one."""
    if not isinstance(parameter, Setting) or context is None:
        return None
    source = context.get_parameter_source(str(parameter.name))
    return str(parameter.envvar) if source is ParameterSource.ENVIRONMENT else None


def state_directory(named: Path | None) -> Path:
    """Where keys, stores and tor's own data are kept: as named, else ``~/.local/state/onion-rdv``.

    Raises :class:`~onion_rdv.errors.SettingsError` where none is named, and this user has no home.
    """
    return named or home.state()


def is_there(path: Path) -> bool:
    """Tell whether something is at a path; what may not be looked for counts as there: reading it says why not."""
    try:
        return path.exists()
    except OSError:
        return True
