"""``onion-rdv backup``: all that a rendezvous server keeps, in one sealed file."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli import passphrases
from onion_rdv.cli.administration import (
    admin_client,
    administration_options,
    database_option,
    front_option,
    server_directory,
)
from onion_rdv.cli.secret_input import ask_or_read
from onion_rdv.cli.service_options import onion_service_dir_option
from onion_rdv.cli.settings import EPILOG, SERVE
from onion_rdv.cli.terminal import emit, emit_json, printable, refuse_journal, say, warn
from onion_rdv.cli.tidy_end import tidy_end
from onion_rdv.errors import NoServerHere

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from onion_rdv.rendezvous.admin.client import AdminClient
    from onion_rdv.rendezvous.backup.contents import Contents
    from onion_rdv.rendezvous.backup.records import Record
    from onion_rdv.rendezvous.backup.sources import Places

_WORDS = 6
"""Words of a passphrase that is made for a backup, which somebody may have for years: 77 bits."""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@administration_options
@onion_service_dir_option(SERVE)
@database_option
@front_option
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Read the passphrase from FILE; - is stdin. Default: ask.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backup(
    file: Path,
    admin_socket: Path | None,
    state_dir: Path | None,
    passphrase_file: Path | None,
    *,
    as_json: bool,
    **places: Any,
) -> None:
    """Put all that the rendezvous server on this machine keeps into FILE, sealed with a passphrase.

    The server may go on running: whatever it had acknowledged when this began is in the backup. So is its onion key,
    and whoever has the file and the passphrase can be this server. A FILE that is there already is replaced. See
    onion-rdv restore, and docs/backup.md.
    """
    from onion_rdv.rendezvous.backup.making import write_backup
    from onion_rdv.rendezvous.backup.sources import Places, with_tors_key

    kept_at = Places(server_directory(state_dir), **places)
    passphrase = _passphrase(passphrase_file)
    records = with_tors_key(_records(admin_client(admin_socket, state_dir), kept_at), kept_at)
    with tidy_end():
        contents = asyncio.run(write_backup(records, file, passphrase))
    if not contents.has_key and kept_at.front is None:
        warn(
            "the onion key is not in it, for tor keeps it and this user may not read it: run this as root and name"
            " its directory with --onion-service-dir, or back that directory up yourself"
        )
    _show(contents, file, as_json=as_json)


async def _records(client: AdminClient, places: Places) -> AsyncGenerator[Record]:
    """Ask the server, or look where one was that does not run."""
    from onion_rdv.rendezvous.backup.serving import read_records
    from onion_rdv.rendezvous.backup.sources import stopped_server

    try:
        async for record in read_records(client):
            yield record
    except NoServerHere:
        say("no server can be asked; taking what one has left")
        async for record in stopped_server(places):
            yield record


def _passphrase(file: Path | None) -> str:
    text = ask_or_read("passphrase (nothing: make one)", file, again=True, may_be_empty=True)
    if not text and file is None:
        refuse_journal("the passphrase", on_stderr=True)
        text = passphrases.make(_WORDS)
        say(f"passphrase: {text}")
        say("keep it apart from the backup, which is worth nothing without it")
    elif text.strip() and (strength := passphrases.measure(text)).weak:
        warn(f"this passphrase withstands about {strength.words} of guessing by whoever has the backup")
    return text


def _show(contents: Contents, file: Path, *, as_json: bool) -> None:
    if as_json:
        emit_json(asdict(contents) | {"file": str(file), "size": file.stat().st_size})
        return
    emit(printable(f"{file} has {contents.address} with {contents.buckets:,} buckets"))
