"""The command line as a whole: its commands, loaded when they are called, and what becomes of every error."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from onion_rdv import __version__
from onion_rdv.cli.reports import as_bug
from onion_rdv.cli.settings_file import OWN_ALONE, SettingsFile
from onion_rdv.cli.terminal import complain, results_by_click, say
from onion_rdv.cli.usage import USAGE
from onion_rdv.cli.usage_errors import as_usage_error
from onion_rdv.errors import NobodyReads, RdvError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    "accept",
    "auth",
    "authorize",
    "backup",
    "completion",
    "demo",
    "doctor",
    "info",
    "messaging",
    "offer",
    "restore",
    "serve",
    "status",
    "talk",
    "testnet",
    "withdraw",
)
"""Each stands in a module of its own name, as a click command of its own name."""

_CALLED = "onion_rdv.called"
"""Where the command that is really called is noted, that of a group for instance."""

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _LateGroup(click.Group):
    """A group that imports a command when it is called, so that none pays for the others."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with results_by_click():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with results_by_click():
                return super().invoke(ctx)
        except BrokenPipeError as error:  # click would take it for that of stdout, and end with 1
            raise as_bug(error) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"onion_rdv.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        called = command
        if isinstance(command, click.Group) and rest:
            called = command.get_command(ctx, rest[0])
        ctx.meta[_CALLED] = called
        return name, command, rest

    def get_help(self, ctx: click.Context) -> str:
        return USAGE.rstrip("\n")


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="onion-rdv", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run one of the commands."""
    name = context.invoked_subcommand or ""
    command = cli.get_command(context, name)
    gc.enable()  # it was disabled while all this was loaded
    called: click.Command | None = context.meta[_CALLED]
    alone = called if called is not None and called.name in OWN_ALONE else None
    file = context.obj = SettingsFile.read(name, whole=alone is None)
    if command is not None and file.path is not None:
        if alone is None:
            file.check(cli, command)
        else:
            file.check_own(alone)
        context.default_map = {name: file.values(command)}


def main(arguments: Sequence[str]) -> int:
    """Run a command; gives its exit code, and never lets a traceback through."""
    try:
        with results_by_click():
            result = cli.main(list(arguments), prog_name="onion-rdv", standalone_mode=False)
    except NobodyReads as error:
        return error.exit_code
    except RdvError as error:
        complain(error)
        return error.exit_code
    except click.ClickException as error:
        complain(as_usage_error(error))
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("onion-rdv: interrupted")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001
        bug = as_bug(error)
        complain(bug)
        return bug.exit_code
    return result if isinstance(result, int) else 0
