"""What is said where a command cannot be understood: what is wrong, but nothing of what was typed.

Whoever slips may have typed a secret there: a link where a command belongs, a passphrase behind an invite. click
would repeat it, and a terminal's scroll-back, a log or somebody beside the screen would have it.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

import click

from onion_rdv.cli.settings import variable_of
from onion_rdv.errors import UsageError

_TOO_MANY: Final = "Got unexpected extra argument"
_NO_COMMAND: Final = "No such command"

_LONGEST_NAME: Final = 24
_NAME: Final = re.compile(r"(?:--)?[a-z]+(?:-[a-z]+)*")
"""What may be the name of a command or an option, or mistyped for one."""

_VERDICT: Final = re.compile(r".*\s(?P<words>(?:is not|does not|is a) [^\n]*)", re.DOTALL)
"""What click says of a value: the value itself, then this; nothing that was typed stands behind the last of these."""


def as_usage_error(error: click.ClickException) -> UsageError:
    """Say in our words what click did not understand."""
    context: click.Context | None = getattr(error, "ctx", None)
    where = "onion-rdv" if context is None else context.command_path
    return UsageError(_what_is_wrong(error, context), hint=f"see {where} --help")


def _what_is_wrong(error: click.ClickException, context: click.Context | None) -> str:
    if error.message.startswith(_TOO_MANY):
        return "there are more arguments than this command takes"
    commands = context.command.list_commands(context) if context and isinstance(context.command, click.Group) else []
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return f"a command is missing: there are {', '.join(commands[:-1])} and {commands[-1]}"
    if error.message.startswith(_NO_COMMAND):
        return "there is no such command" + _meant(getattr(error, "command_name", ""), commands)
    if isinstance(error, click.NoSuchOption):
        names = [name for one in context.command.get_params(context) for name in one.opts] if context else []
        return "there is no such option" + _meant(error.option_name, names)
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        return _what_is_wrong_with_a_value(error, context)
    said = error.format_message().rstrip(".").replace("\n", " ")
    return said[:1].lower() + said[1:]


def _what_is_wrong_with_a_value(error: click.BadParameter, context: click.Context | None) -> str:
    name = "" if error.param is None else f" for {error.param.get_error_hint(context)}"
    verdict = _VERDICT.fullmatch(error.message.rstrip("."))
    said = f"invalid value{name}" + (f": it {verdict['words']}" if verdict else "")
    variable = variable_of(error.param, context)
    return said if variable is None else f"{variable}: {said}"


def _meant(typed: str, names: list[str]) -> str:
    """Name what may have been meant, where what was typed looks as if it were such a name."""
    if len(typed) > _LONGEST_NAME or not _NAME.fullmatch(typed):
        return ""
    near = get_close_matches(typed, names)
    return f"; did you mean {' or '.join(near)}?" if near else ""
