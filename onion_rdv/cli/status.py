"""``onion-rdv status``: how the rendezvous server of this machine is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from onion_rdv.cli.administration import admin_client, administration_options
from onion_rdv.cli.settings import EPILOG
from onion_rdv.cli.terminal import emit, emit_json, printable

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.rendezvous.admin.status import Status


@click.command(epilog=EPILOG)
@administration_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(admin_socket: Path | None, state_dir: Path | None, *, as_json: bool) -> None:
    """Say how the rendezvous server on this machine is: its address, whether it is published, what it keeps.

    Only the user that runs the server, and root, may ask. The sums are over everybody and rounded, so that none shows
    a single request.
    """
    from onion_rdv.rendezvous.admin.status import STATUS_PATH, read_status

    client = admin_client(admin_socket, state_dir)
    seen = read_status(asyncio.run(client.ask("GET", STATUS_PATH)))
    if as_json:
        emit_json(asdict(seen))
    else:
        _show(seen)


def _show(seen: Status) -> None:
    lines = {
        "server": seen.server,
        "onion service": seen.state,
        "tor": seen.tor_version or "no connection to its control port",
        "buckets": f"{seen.buckets:,} kept, {seen.open_buckets} of them open; {seen.opened_buckets:,} ever opened",
        "entries": f"about {seen.stored_entries:,} ever stored",
        "fetches": f"about {seen.fetched_buckets:,} ever served",
        "store": f"up to {seen.store_bytes // 2**20:,} MiB",
        "oldest expires": _time(seen.oldest_expires_at),
    }
    for name, value in lines.items():
        emit(f"{name:<16}{printable(value)}")


def _time(second: int | None) -> str:
    if second is None:
        return "nothing is kept"
    return f"by {datetime.fromtimestamp(second, UTC).astimezone():%Y-%m-%d %H:%M}"
