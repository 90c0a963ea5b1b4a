"""Where whoever runs the rendezvous server finds it on its machine: its admin socket, and its state directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.kinds import DATABASE, OnionAddress, OwnSocketPath
from onion_rdv.cli.settings import SERVE, option, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.rendezvous.admin.client import AdminClient

admin_socket_option = option(
    "--admin-socket",
    table=SERVE,
    type=OwnSocketPath(),
    metavar="PATH",
    help="Unix socket where the server's operator asks. Default: admin.socket in the state directory.",
)

database_option = option(
    "--database",
    table=SERVE,
    type=DATABASE,
    secret=True,
    metavar="URL",
    hidden=True,
    help="PostgreSQL database that keeps the buckets, for several servers. Default: a file in the state directory.",
)

front_option = option(
    "--front",
    table=SERVE,
    type=OnionAddress(),
    metavar="ADDRESS",
    hidden=True,
    help="Onion address of the Onionbalance in front, which clients know instead of this server's own.",
)


def administration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that :func:`admin_client` takes."""
    state_dir = option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Where the server keeps its onion key and its store.",
    )
    return state_dir(admin_socket_option(command))


def server_directory(state_dir: Path | None) -> Path:
    """Where the rendezvous server keeps what is its own."""
    return state_directory(state_dir).absolute() / "server"


def admin_client(admin_socket: Path | None, state_dir: Path | None) -> AdminClient:
    """Prepare to ask the server at its socket: as named, else in the state directory."""
    from onion_rdv.rendezvous.admin.client import ADMIN_SOCKET, AdminClient

    return AdminClient(admin_socket or server_directory(state_dir) / ADMIN_SOCKET)
