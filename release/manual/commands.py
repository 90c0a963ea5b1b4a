"""onion-rdv(1): every command, as its own help has it."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click

from onion_rdv.cli.main import cli
from onion_rdv.cli.settings_file import SYSTEM_FILE, VARIABLE
from onion_rdv.cli.usage import USAGE
from release.manual import mdoc

if TYPE_CHECKING:
    from collections.abc import Iterator

_TERM = "messaging-serve"  # as wide as the longest of them


def page(epoch: int) -> str:
    """Write the page."""
    lines = [
        *mdoc.head("onion-rdv", 1, epoch),
        *mdoc.name(
            "onion-rdv", "hand over a messaging link through a Tor onion service that learns nothing about it"
        ),
        ".Sh SYNOPSIS",
        ".Nm",
        ".Ar command",
        ".Op Ar options",
        ".Sh DESCRIPTION",
        *_overview(),
        ".Sh COMMANDS",
        *(line for context in _walk(cli, click.Context(cli, info_name="onion-rdv")) for line in _command(context)),
        ".Sh ENVIRONMENT",
        *mdoc.definitions(
            [
                ("Ev ONION_RDV_NAME", mdoc.prose("The option of that name, as it stands with each option.")),
                (f"Ev {VARIABLE}", mdoc.prose("Another settings file in place of those below.")),
            ]
        ),
        ".Sh FILES",
        *mdoc.definitions(
            [
                ("Pa ~/.config/onion-rdv/config.toml", mdoc.prose("Settings.")),
                (
                    f"Pa {SYSTEM_FILE}",
                    ["Settings of the servers that the system runs, see", ".Xr onion-rdv-server.toml 5 ."],
                ),
                ("Pa ~/.local/state/onion-rdv", mdoc.prose("Keys, stores, and the data of a tor of our own.")),
                ("Pa /var/lib/onion-rdv", mdoc.prose("The same for the servers that the system runs.")),
            ]
        ),
        ".Sh EXIT STATUS",
        *mdoc.definitions([(code, mdoc.prose(f"{meaning}.")) for code, meaning in exit_codes()]),
        ".Sh SEE ALSO",
        ".Xr tor 1 ,",
        ".Xr onion-rdv-server.toml 5 ,",
        ".Pa /usr/share/doc/onion-rdv",
    ]
    return "\n".join(lines) + "\n"


def exit_codes() -> list[tuple[str, str]]:
    """Give each code and what it means, from the first screen of help."""
    said = " ".join(USAGE.partition("Exit codes:")[2].split()).rstrip(".")
    parts = re.split(r"(?:^|, )(\d+) ", said)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _overview() -> list[str]:
    """Write what the first screen of help says before its options: what it is, and the commands in groups."""
    lines: list[str] = []
    for paragraph in USAGE.partition("\nOptions:")[0].split("\n\n")[1:]:
        entries = re.findall(r"^  (\S.*?)  +(\S.*)$", paragraph, re.MULTILINE)
        said = re.sub(r"^  .*$", "", paragraph, flags=re.MULTILINE)
        if said.strip():
            lines += [*([".Pp"] if lines else []), *mdoc.prose(said)]
        lines += mdoc.definitions([(mdoc.bold(term), mdoc.prose(text)) for term, text in entries], width=_TERM)
    return lines


def _walk(group: click.Group, context: click.Context) -> Iterator[click.Context]:
    """Give every command that can be run, with what it is called."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:  # pragma: no cover
            continue
        own = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _walk(command, own)
        else:
            yield own


def _command(context: click.Context) -> list[str]:
    command = context.command
    usage = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    lines = [f".Ss {mdoc.escape(' '.join([context.command_path, *usage]))}"]
    for index, paragraph in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        if paragraph.startswith("\b\n"):  # click's sign for lines that stay as they are
            lines += mdoc.literal(paragraph.splitlines()[1:])
        else:
            lines += [*([".Pp"] if index else []), *mdoc.prose(paragraph)]
    return lines + mdoc.definitions([_option(option, context) for option in _options(command)])


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def _option(option: click.Option, context: click.Context) -> tuple[str, list[str]]:
    record = option.get_help_record(context)
    if record is None:
        raise ValueError(f"{option.name} has no help")
    names, text = record
    explained = mdoc.prose(text)
    if isinstance(option.envvar, str):
        explained.append(f".Pq Ev {option.envvar}")
    return mdoc.bold(names), explained
