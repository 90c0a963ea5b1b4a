"""What every server command can be told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.kinds import CLIENT_KEY, CONTROL_PORT, READABLE_FILE, SocketPath
from onion_rdv.cli.settings import option
from onion_rdv.systemd.credentials import credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEFAULT_MAX_STREAMS = 16

LONGEST_TIME = 10 * 366 * 86400
"""Seconds that anything can be set to: ten years."""


def authorized_client_option(table: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the option that names clients."""
    return option(
        "--authorized-client",
        table=table,
        multiple=True,
        type=CLIENT_KEY,
        metavar="KEY",
        help="Serve only the owner of this x25519 public key.",
    )


def onion_service_dir_option(table: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the option that has tor keep the key."""
    return option(
        "--onion-service-dir",
        table=table,
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Have tor keep the key, in this HiddenServiceDir. Default: it is kept here.",
    )


def onion_options(
    table: str, port: int, max_streams: int = _DEFAULT_MAX_STREAMS
) -> Callable[[Callable[..., Any]], Any]:
    """Give a command the options about its onion service, with these defaults; ``table`` has them in the file."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in (
            authorized_client_option(table),
            option("--proof-of-work/--no-proof-of-work", table=table, default=True, show_default=True,
                   help="Let tor ask clients for work under load."),
            option("--max-streams", table=table, type=click.IntRange(0, 65535), default=max_streams, metavar="N",
                   show_default=True,
                   help="Streams a circuit may have at a time; one more closes it. 0: any number."),
            option("--listen", table=table, type=SocketPath(), metavar="PATH",
                   help="Unix socket where tor hands over streams. Default: one that tor can enter."),
            option("--port", table=table, type=click.IntRange(1, 65535), default=port, metavar="N",
                   show_default=True,
                   help="The onion service's port."),
        ):  # fmt: skip
            command = one(command)
        return command

    return decorate


def keeping_options(table: str, what: str) -> Callable[[Callable[..., Any]], Any]:
    """Give a command the options about tor and about where it keeps what; the last is ``--json``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in (
            click.option("--json", "as_json", is_flag=True, help="When it is ready, print one JSON object."),
            click.option("--check-config", is_flag=True,
                         help="Check the settings, say where each came from, and start nothing."),
            option("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
                   help=f"Where {what} are kept."),
            option("--torrc", type=READABLE_FILE, metavar="FILE",
                   help="More torrc lines (bridges) for a tor of our own."),
            control_options("the usual places, then a tor of our own"),
            onion_service_dir_option(table),
        ):  # fmt: skip
            command = one(command)
        return command

    return decorate


def max_connections_option(table: str, preset: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the option that bounds how many connections there are; see ``open_files.py``."""
    return option(
        "--max-connections",
        table=table,
        type=click.IntRange(1, 100_000),
        default=preset,
        show_default=True,
        metavar="N",
        hidden=True,
        help="Streams that may be open at a time, of all clients together.",
    )


def control_options(default: str) -> Callable[[Callable[..., Any]], Any]:
    """Give a command the options about tor's control port, which is looked for where ``default`` says."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in (
            option("--control-password-file", type=READABLE_FILE, metavar="FILE",
                   help="Password for the control port, where no cookie is readable."),
            option("--control", type=CONTROL_PORT, metavar="ADDRESS",
                   help=f"Tor's control port: HOST:PORT or unix:PATH. Default: {default}."),
        ):  # fmt: skip
            command = one(command)
        return command

    return decorate


def onion_settings(options: Mapping[str, Any], state_directory: Path) -> dict[str, Any]:
    """Give what a server's settings take from a command's options, and from the service manager.

    Raises :class:`~onion_rdv.errors.SettingsError` for a key from there that cannot be used.
    """
    from onion_rdv.tor.onion_service import key_file
    from onion_rdv.tor.onion_service.hosting import KEY_FILE

    key = credential(KEY_FILE)
    return {
        "state_directory": state_directory,
        "socket": options["listen"],
        "port": options["port"],
        "onion_service_dir": options["onion_service_dir"] and options["onion_service_dir"].absolute(),
        "max_streams": options["max_streams"],
        "proof_of_work": options["proof_of_work"],
        "authorized_clients": options["authorized_client"],
        "key": None if key is None else key_file.from_credential(key),
    }
