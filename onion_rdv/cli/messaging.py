"""``onion-rdv messaging``: what is about a messaging server of one's own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.kinds import READABLE_FILE
from onion_rdv.cli.open_files import allow_open_files
from onion_rdv.cli.secret_input import read_secret_file
from onion_rdv.cli.service_options import (
    LONGEST_TIME,
    keeping_options,
    max_connections_option,
    onion_options,
    onion_settings,
)
from onion_rdv.cli.service_run import run_service
from onion_rdv.cli.settings import EPILOG, MESSAGING, option, state_directory
from onion_rdv.cli.settings_origin import naming_origins, show_settings
from onion_rdv.cli.withdraw import take_back, withdraw_options
from onion_rdv.errors import UsageError
from onion_rdv.protocol.short_link import SMP_PORT
from onion_rdv.smp.server.limits import DEFAULT_LIFETIME, DEFAULT_MAX_CONNECTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.onion_service.hosting import Ready

_MAX_STREAMS = 8  # a person's program has one connection, or two while one of them fails


@click.group()
def messaging() -> None:
    """Run a messaging server of your own, where two people go on after a rendezvous."""


@messaging.command(
    epilog=EPILOG
    + " There, those of messaging serve stand in a table [messaging]; onion-rdv-server.toml(5) has one more."
)
@onion_options(MESSAGING, port=SMP_PORT, max_streams=_MAX_STREAMS)
@option(
    "--password-file",
    table=MESSAGING,
    type=READABLE_FILE,
    metavar="FILE",
    help="Let only those make queues who know the password in this file. Default: everybody.",
)
@option(
    "--lifetime",
    table=MESSAGING,
    type=click.IntRange(60, LONGEST_TIME),
    default=DEFAULT_LIFETIME,
    show_default=True,
    metavar="SECONDS",
    help="How long a message waits at most.",
)
@max_connections_option(MESSAGING, DEFAULT_MAX_CONNECTIONS)
@keeping_options(MESSAGING, "the onion key, the server's identity and its queues")
def serve(state_dir: Path | None, password_file: Path | None, *, check_config: bool, **options: Any) -> None:
    """Run a messaging server as an onion service, until it is stopped (Ctrl-C, SIGTERM).

    It speaks the part of SMP (versions 15 to 18) that two people need for links and messages, and is meant for talks,
    demonstrations, tests and small private deployments; see docs/messaging-server.md.

    Its full address is printed when the descriptor is with Tor's directories, with the password where there is one,
    and stays the same over restarts of the server and of tor. Connections and commands are never logged.
    """
    from onion_rdv.smp import health
    from onion_rdv.smp.server.service import MessagingSettings
    from onion_rdv.smp.server.service import serve as run_server
    from onion_rdv.smp.wire.address import SmpServer

    directory = state_directory(state_dir).absolute()
    settings = MessagingSettings(
        **onion_settings(options, directory / "messaging"),
        password=None if password_file is None else _read_password(password_file),
        lifetime=options["lifetime"],
        max_connections=options["max_connections"],
    )
    with naming_origins():
        settings.check()
        allow_open_files(settings.max_connections)
    if check_config:
        show_settings(settings.state_directory, as_json=options["as_json"])
        return

    async def check(ready: Ready, timeout: float) -> None:
        await health.check(ready.socket, SmpServer.parse(ready.server), timeout)

    run_service(
        lambda: partial(run_server, settings),
        options,
        own_directory=directory / "messaging-tor",
        check=check,
        for_journal=lambda server: str(SmpServer.parse(server)),
    )


@messaging.command(epilog=EPILOG)
@withdraw_options
def withdraw(state_dir: Path | None, control: str | None, control_password_file: Path | None) -> None:
    """Take back the onion service of the messaging server, which must have been stopped; see onion-rdv withdraw."""
    take_back(state_directory(state_dir).absolute() / "messaging", control, control_password_file)


def _read_password(path: Path) -> str:
    password = read_secret_file(path, "password")
    if not 0 < len(password) < 256 or not all("!" <= letter <= "~" and letter not in "@:/" for letter in password):
        raise UsageError(
            "the password does not fit into an address",
            hint="use 1 to 255 letters, digits and signs of plain ASCII, without spaces and @ : /",
        )
    return password
