"""``onion-rdv withdraw``: take back the onion service that a server has left with tor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.service_options import control_options
from onion_rdv.cli.settings import EPILOG, is_there, option, state_directory
from onion_rdv.cli.terminal import say
from onion_rdv.errors import NoTor

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.tor.control import Control


def withdraw_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that :func:`take_back` needs."""
    state_dir = option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Where the server keeps what is its own.",
    )
    with_control: Callable[..., Any] = control_options("the usual places")(state_dir(command))
    return with_control


@click.command(epilog=EPILOG)
@withdraw_options
def withdraw(state_dir: Path | None, control: str | None, control_password_file: Path | None) -> None:
    """Take back the onion service of the rendezvous server, which must have been stopped.

    A server whose socket systemd keeps leaves its onion service with tor when it stops, so that whoever comes
    meanwhile waits for its next start. This ends that; the next start publishes it again, at the same address.
    """
    take_back(state_directory(state_dir).absolute() / "server", control, control_password_file)


def take_back(directory: Path, address: str | None, password_file: Path | None) -> None:
    """Take back what the server with this state directory has left with tor.

    Raises :class:`~onion_rdv.errors.StoreError` where that server runs, :class:`~onion_rdv.errors.NoTor` and its
    kinds.
    """
    from onion_rdv.tor.onion_service import detached, state_directory

    async def ask() -> str | None:
        async with await _open(address, password_file) as control:
            return await detached.take_back(control, note)

    note = directory / detached.NOTE_FILE
    if not is_there(note):
        say("no onion service was left with tor")
        return
    with state_directory.in_use(directory):
        left = asyncio.run(ask())
    say("no onion service was left with tor" if left is None else "the onion service was taken back")


async def _open(address: str | None, password_file: Path | None) -> Control:
    from onion_rdv.tor import control

    if address is not None:
        return await control.connect(address, password_file=password_file)
    found = await control.find(password_file=password_file)
    if found is None:
        raise NoTor("no control port answers in the usual places", hint="name it with --control")
    return found
