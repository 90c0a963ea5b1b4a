"""``onion-rdv restore``: put a backup back, on this machine or on another one."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click

from onion_rdv.cli.administration import database_option, server_directory
from onion_rdv.cli.secret_input import ask_or_read
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import emit, emit_json, printable, say
from onion_rdv.cli.tidy_end import tidy_end
from onion_rdv.errors import UsageError


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@option("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        help="Where the server will keep its onion key and its store.")  # fmt: skip
@database_option
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Read the passphrase from FILE; - is stdin. Default: ask.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(
    file: Path, state_dir: Path | None, database: str | None, passphrase_file: Path | None, *, as_json: bool
) -> None:
    """Put the backup in FILE back, where no rendezvous server has kept anything yet.

    The server that is started there then is the one that was backed up, with its address and its buckets. It must not
    run in two places.
    """
    from onion_rdv.rendezvous.backup.restoring import restore as put_back
    from onion_rdv.rendezvous.backup.sealing import opened

    directory = server_directory(state_dir)
    passphrase = ask_or_read("passphrase", passphrase_file)
    try:
        with tidy_end(), file.open("rb") as reading:
            contents = asyncio.run(put_back(opened(reading, passphrase), directory, database))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror})", hint="check its name") from None
    if as_json:
        emit_json(asdict(contents) | {"state_directory": str(directory)})
        return
    emit(printable(f"{directory} has {contents.address} with {contents.buckets:,} buckets"))
    if not contents.has_key:
        say("the onion key was not in the backup: put back tor's HiddenServiceDir, too, and name it to the server")
