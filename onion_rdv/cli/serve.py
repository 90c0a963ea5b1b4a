"""``onion-rdv serve``: run a rendezvous server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.administration import admin_socket_option, database_option, front_option
from onion_rdv.cli.kinds import OwnSocketPath, Seconds
from onion_rdv.cli.open_files import allow_open_files
from onion_rdv.cli.service_options import (
    LONGEST_TIME,
    keeping_options,
    max_connections_option,
    onion_options,
    onion_settings,
)
from onion_rdv.cli.service_run import run_service
from onion_rdv.cli.settings import EPILOG, SERVE, option, state_directory
from onion_rdv.cli.settings_origin import naming_origins, show_settings
from onion_rdv.cli.terminal import warn
from onion_rdv.rendezvous.limits import DEFAULT_MAX_CIRCUIT_STORES, DEFAULT_MAX_CONNECTIONS, DEFAULT_REQUEST_TIMEOUT
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME, DEFAULT_MAX_NEW_BUCKETS, DEFAULT_WINDOW

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from onion_rdv.tor.onion_service.hosting import Ready


@click.command(
    epilog=EPILOG + " There, those of serve stand in a table [serve]; onion-rdv-server.toml(5) has some more."
)
@onion_options(SERVE, port=80)
@option(
    "--window",
    table=SERVE,
    type=click.IntRange(1, LONGEST_TIME),
    default=DEFAULT_WINDOW,
    show_default=True,
    metavar="SECONDS",
    help="How long a bucket takes entries.",
)
@option(
    "--lifetime",
    table=SERVE,
    type=click.IntRange(2, LONGEST_TIME),
    default=DEFAULT_LIFETIME,
    show_default=True,
    metavar="SECONDS",
    help="How long a bucket is kept.",
)
@option(
    "--max-new-buckets",
    table=SERVE,
    type=click.IntRange(0, 1_000_000),
    default=DEFAULT_MAX_NEW_BUCKETS,
    show_default=True,
    metavar="N",
    hidden=True,
    help="Buckets that may be opened in a minute, for 64 stores each. 0: any number.",
)
@option(
    "--circuit-ids/--no-circuit-ids",
    table=SERVE,
    default=False,
    hidden=True,
    help="Have tor say which circuit a stream is on, and bound what one may do; for --onion-service-dir alone.",
)
@option(
    "--max-circuit-stores",
    table=SERVE,
    type=click.IntRange(0, 1_000_000),
    default=DEFAULT_MAX_CIRCUIT_STORES,
    show_default=True,
    metavar="N",
    hidden=True,
    help="Entries that one circuit may bring in a minute or two, with --circuit-ids. 0: any number.",
)
@max_connections_option(SERVE, DEFAULT_MAX_CONNECTIONS)
@option(
    "--request-timeout",
    table=SERVE,
    type=Seconds(1, 3600),
    default=DEFAULT_REQUEST_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    hidden=True,
    help="How long a client may take for a request.",
)
@admin_socket_option
@option(
    "--metrics-socket",
    table=SERVE,
    type=OwnSocketPath(),
    metavar="PATH",
    hidden=True,
    help="Unix socket where Prometheus finds sums. Default: none.",
)
@database_option
@front_option
@keeping_options(SERVE, "the onion key and the store")
def serve(state_dir: Path | None, *, check_config: bool, **options: Any) -> None:
    """Run a rendezvous server as an onion service, until it is stopped (Ctrl-C, SIGTERM).

    Its address is printed when the descriptor is with Tor's directories, and stays the same over restarts of the
    server and of tor. Requests are never logged.
    """
    from onion_rdv.rendezvous.settings import ServerSettings

    directory = state_directory(state_dir).absolute()
    settings = ServerSettings(
        **onion_settings(options, directory / "server"),
        window=options["window"],
        lifetime=options["lifetime"],
        max_new_buckets=options["max_new_buckets"],
        admin_socket=options["admin_socket"],
        metrics_socket=options["metrics_socket"],
        database=options["database"],
        front=options["front"],
        circuit_ids=options["circuit_ids"],
        max_circuit_stores=options["max_circuit_stores"],
        max_connections=options["max_connections"],
        request_timeout=options["request_timeout"],
    )
    with naming_origins():
        settings.check()
        allow_open_files(settings.max_connections)
    if settings.front is not None and settings.database is None:
        warn("buckets are in a file of this machine: several servers behind one front need one database")
    if check_config:
        show_settings(settings.state_directory, as_json=options["as_json"])
        return

    def load() -> Callable[..., Awaitable[None]]:
        from onion_rdv.rendezvous.service import serve as run_server

        return partial(run_server, settings)

    async def check(ready: Ready, _timeout: float) -> None:
        from onion_rdv.rendezvous import health, proxy_line

        await health.check(ready.socket, proxy_line.write(proxy_line.NO_CIRCUIT) if settings.circuit_ids else b"")

    run_service(load, options, own_directory=directory / "server-tor", check=check)
