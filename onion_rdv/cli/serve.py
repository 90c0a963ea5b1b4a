"""``onion-rdv serve``: run a rendezvous server."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.settings import EPILOG, option, state_directory
from onion_rdv.cli.terminal import ProgressBar, emit, emit_json, printable, say, warn
from onion_rdv.rendezvous.store import DEFAULT_LIFETIME, DEFAULT_WINDOW

if TYPE_CHECKING:
    from onion_rdv.rendezvous.service import ServerSettings
    from onion_rdv.tor.onion_service.hosting import Ready
    from onion_rdv.tor.supply import ControlSupply

_MAX_STREAMS = 16


@click.command(epilog=EPILOG + " There, those of serve stand in a table [serve].")
@option("--port", type=click.IntRange(1, 65535), default=80, show_default=True, help="The onion service's port.")
@option(
    "--listen",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Unix socket where tor hands over streams. Default: one that tor can enter.",
)
@option(
    "--window",
    type=click.IntRange(min=1),
    default=DEFAULT_WINDOW,
    show_default=True,
    metavar="SECONDS",
    help="How long a bucket takes entries.",
)
@option(
    "--lifetime",
    type=click.IntRange(min=2),
    default=DEFAULT_LIFETIME,
    show_default=True,
    metavar="SECONDS",
    help="How long a bucket is kept.",
)
@option(
    "--max-streams",
    type=click.IntRange(0, 65535),
    default=_MAX_STREAMS,
    show_default=True,
    help="Streams a circuit may have at a time; one more closes it. 0: any number.",
)
@option(
    "--proof-of-work/--no-proof-of-work",
    default=True,
    show_default=True,
    help="Let tor ask clients for work under load.",
)
@option("--authorized-client", multiple=True, metavar="KEY", help="Serve only the owner of this x25519 public key.")
@option(
    "--onion-service-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Have tor keep the key, in this HiddenServiceDir. Default: it is kept here.",
)
@option(
    "--control",
    metavar="ADDRESS",
    help="Tor's control port: HOST:PORT or unix:PATH. Default: the usual places, then a tor of our own.",
)
@option(
    "--control-password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Password for the control port, where no cookie is readable.",
)
@option(
    "--torrc",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="More torrc lines (bridges) for a tor of our own.",
)
@option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the onion key and the store are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="When it is ready, print one JSON object.")  # fmt: skip
def serve(
    state_dir: Path | None, control: str | None, control_password_file: Path | None, torrc: Path | None, **more: Any
) -> None:
    """Run a rendezvous server as an onion service, until it is stopped (Ctrl-C, SIGTERM).

    Its address is printed when the descriptor is with Tor's directories, and stays the same over restarts of the
    server and of tor. Requests are never logged.
    """
    from onion_rdv.rendezvous.service import ServerSettings
    from onion_rdv.tor.supply import ControlSupply

    directory = state_directory(state_dir).absolute()
    settings = ServerSettings(
        state_directory=directory / "server",
        socket=more["listen"].absolute() if more["listen"] else None,
        port=more["port"],
        onion_service_dir=more["onion_service_dir"],
        window=more["window"],
        lifetime=more["lifetime"],
        max_streams=more["max_streams"],
        proof_of_work=more["proof_of_work"],
        authorized_clients=more["authorized_client"],
    )

    async def run() -> None:
        with ProgressBar("tor") as progress:
            supply = ControlSupply(
                control,
                own_directory=directory / "server-tor",
                password_file=control_password_file,
                extra_torrc=torrc,
                progress=progress,
            )
            try:
                await _serve(settings, supply, progress, as_json=more["as_json"])
            finally:
                await supply.close()

    asyncio.run(run())


async def _serve(settings: ServerSettings, supply: ControlSupply, progress: ProgressBar, *, as_json: bool) -> None:
    from onion_rdv.rendezvous.service import serve as run_server

    def tell_state(state: str) -> None:
        progress.finish()
        say(f"onion service: {printable(state)}")

    def tell_ready(ready: Ready) -> None:
        progress.finish()
        for warning in ready.warnings:
            warn(warning)
        work = "asks for work under load" if ready.proof_of_work else "has no proof of work"
        say(f"ready; tor {work}. clients name this server so:")
        _announce(ready, as_json=as_json)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_server(settings, supply, stop=stop, on_ready=tell_ready, on_state=tell_state, progress=progress)
    say("stopped")


def _announce(ready: Ready, *, as_json: bool) -> None:
    if as_json:
        emit_json(
            {
                "server": ready.server,
                "onion_address": ready.address,
                "port": ready.port,
                "proof_of_work": ready.proof_of_work,
            }
        )
    else:
        emit(ready.server)
    sys.stdout.flush()
