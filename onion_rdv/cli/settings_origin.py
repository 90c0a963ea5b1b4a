"""Where a setting came from, for messages about it and for whoever asks for all of them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from onion_rdv.cli.settings import settings_of
from onion_rdv.cli.settings_file import SettingsFile
from onion_rdv.cli.terminal import emit, emit_json, printable, say
from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onion_rdv.cli.settings import Setting

_NOT_SHOWN = "not shown: it may hold a secret"


@contextmanager
def naming_origins() -> Iterator[None]:
    """Have an error about settings that do not fit together say where each of them came from."""
    try:
        yield
    except SettingsError as error:
        context = click.get_current_context()
        concerned = [setting for setting in settings_of(context.command) if setting.name in error.settings]
        if not concerned:
            raise
        origins = ", ".join(f"{setting.name} from {_origin(context, setting)}" for setting in concerned)
        raise SettingsError(f"{error.detail} ({origins})", hint=error.hint) from None


def show_settings(state_directory: Path, *, as_json: bool) -> None:
    """Print the settings of the command that runs, and where each came from: as TOML with remarks, or as JSON."""
    context = click.get_current_context()
    file = context.find_object(SettingsFile)
    path = None if file is None or file.path is None else str(file.path)
    say("no settings file was read" if path is None else f"settings file: {printable(path)}")
    say(f"key and data are kept in {printable(str(state_directory))}")
    settings = sorted(settings_of(context.command), key=lambda setting: (setting.table or "", str(setting.name)))
    if as_json:
        emit_json({"file": path, "settings": [_describe(context, setting) for setting in settings]})
        return
    table = None
    for setting in settings:
        if setting.table != table:
            table = setting.table
            emit(f"\n[{table}]")
        emit(printable(_line(context, setting)))


def _line(context: click.Context, setting: Setting) -> str:
    described = _describe(context, setting)
    value, remark = described["value"], described["from"]
    if setting.secret and context.params[str(setting.name)] is not None:
        return f"# {setting.name}: {remark} ({_NOT_SHOWN})"
    if value is None:
        return f"# {setting.name}: {remark}"
    return f"{setting.name} = {json.dumps(value, ensure_ascii=False)}  # {remark}"


def _describe(context: click.Context, setting: Setting) -> dict[str, Any]:
    value = None if setting.secret else context.params[str(setting.name)]
    if isinstance(value, Path):
        value = str(value)
    return {
        "table": setting.table,
        "name": setting.name,
        "value": list(value) if isinstance(value, tuple) else value,
        "from": _origin(context, setting),
    }


def _origin(context: click.Context, setting: Setting) -> str:
    source = context.get_parameter_source(str(setting.name))
    file = context.find_object(SettingsFile)
    if source is ParameterSource.COMMANDLINE:
        return "the command line"
    if source is ParameterSource.ENVIRONMENT:
        return str(setting.envvar)
    if source is ParameterSource.DEFAULT_MAP and file is not None:
        return file.where(setting)
    return "the default"
