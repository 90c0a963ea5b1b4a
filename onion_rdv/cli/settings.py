"""Settings: an option on the command line, else ``ONION_RDV_NAME``, else the file, else the default.

The file is TOML, ``~/.config/onion-rdv/config.toml`` (or where ``XDG_CONFIG_HOME`` or ``ONION_RDV_CONFIG`` say). Its
keys are the options' names with underscores; those of ``serve`` and of ``messaging serve`` stand in tables named
``serve`` and ``messaging``.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

FILE_VARIABLE = "ONION_RDV_CONFIG"

EPILOG = (
    "Options can be set for good, as name = value in ~/.config/onion-rdv/config.toml or as ONION_RDV_NAME in the"
    " environment: timeout = 90, ONION_RDV_TIMEOUT=90."
)
"""What the help of every command with such options ends with."""

_GENERAL: dict[str, type | tuple[type, ...]] = {
    "server": list,
    "socks": str,
    "control": str,
    "control_password_file": str,
    "state_dir": str,
    "torrc": str,
    "timeout": (int, float),
    "max_bucket_age": int,
    "max_clock_skew": int,
    "max_bucket_number": int,
    "probe": str,
    "messaging_server": str,
    "words": int,
}
_ONION_SERVICE: dict[str, type | tuple[type, ...]] = {
    "listen": str,
    "port": int,
    "onion_service_dir": str,
    "max_streams": int,
    "proof_of_work": bool,
    "authorized_client": list,
}
_TABLES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "serve": {**_ONION_SERVICE, "window": int, "lifetime": int},
    "messaging": {**_ONION_SERVICE, "password_file": str, "lifetime": int},
}
_NAMES = {str: "a string", int: "a whole number", list: "a list of strings", bool: "true or false"}


def option(*names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare an option that can also be set as ``ONION_RDV_NAME`` and in the file."""
    name = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "ONION_RDV_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=variable, **attributes)


def path() -> Path:
    """Where the settings file is, or would be."""
    import platformdirs

    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else platformdirs.user_config_path("onion-rdv") / "config.toml"


def state_directory(named: Path | None) -> Path:
    """Where keys, stores and tor's own data are kept: as named, else ``~/.local/state/onion-rdv``."""
    import platformdirs

    return named or platformdirs.user_state_path("onion-rdv")


def load(command: str) -> MutableMapping[str, Any]:
    """Read the file, check all of it, and give what is meant for one command, as click wants its defaults.

    Raises :class:`~onion_rdv.errors.SettingsError` that names file and line.
    """
    file = path()
    try:
        text = file.read_text()
    except FileNotFoundError:
        if FILE_VARIABLE in os.environ:
            raise SettingsError(f"there is no file {file}, which {FILE_VARIABLE} names") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read ({type(error).__name__})") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: {error}") from None
    tables = {name: content.pop(name, {}) for name in _TABLES}
    _check(content, _GENERAL, text, file)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{file}: {name} has to be a table")
        _check(table, _TABLES[name], text, file)
    values: dict[str, Any] = {**content, **tables.get(command, {})}
    return {command: {"serve": values} if command == "messaging" else values}


def _check(values: dict[str, Any], known: dict[str, type | tuple[type, ...]], text: str, file: Path) -> None:
    for name, value in values.items():
        where = f"{file}, line {_line(name, text)}"
        if name not in known:
            raise SettingsError(f"{where}: unknown setting {name!r}", hint=f"known are {', '.join(known)}")
        if not _fits(value, known[name]):
            kind = known[name]
            named = _NAMES[kind] if isinstance(kind, type) else "a number"
            raise SettingsError(f"{where}: {name} has to be {named}")


def _fits(value: object, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # which python takes for a number
        return kind is bool
    if isinstance(value, list):
        return kind is list and all(isinstance(item, str) for item in value)
    return isinstance(value, kind)


def _line(name: str, text: str) -> int:
    found = re.search(rf"^\s*\[*\"?{re.escape(name)}\b", text, re.MULTILINE)
    return text[: found.end()].count("\n") + 1 if found else 1
