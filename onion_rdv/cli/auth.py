"""``onion-rdv auth``: the keys with which one gets in to private servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from onion_rdv.cli.admission import keyring
from onion_rdv.cli.kinds import OnionAddress
from onion_rdv.cli.secret_input import STDIN, read_secret
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import emit, emit_json, say
from onion_rdv.errors import UsageError
from onion_rdv.protocol import decode_onion_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_state_dir: Callable[[Callable[..., Any]], Callable[..., Any]] = option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where a tor of our own keeps its data, and these keys are.",
)


@click.group()
def auth() -> None:
    """Keep the keys that private servers want: whoever runs one sends a line for each client."""


@auth.command(epilog=EPILOG)
@click.argument("line", required=False, metavar="[-]")
@_state_dir
def add(line: str | None, state_dir: Path | None) -> None:
    """Keep the line that the operator of a private server sent: ADDRESS:descriptor:x25519:KEY.

    It is a secret, and read at a prompt that does not show it, or from stdin (-). From then on offer, accept, talk
    and doctor give it to the tor that they use.
    """
    from onion_rdv.tor.client_authorization import Credential

    if line not in {None, STDIN}:
        raise UsageError(
            "the line is a secret, and others can see a command's arguments", hint="type it at the prompt, or use -"
        )
    credential = Credential.parse(read_secret(line, "line for a private server"))
    decode_onion_address(f"{credential.service}.onion")
    replaced = keyring(state_dir).put(credential)
    say(f"{'replaced' if replaced else 'kept'} the key for {credential.service}.onion")


@auth.command("list", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_state_dir
def list_(state_dir: Path | None, *, as_json: bool) -> None:
    """Print the private servers that there is a key for."""
    addresses = [f"{credential.service}.onion" for credential in keyring(state_dir).read()]
    if as_json:
        emit_json({"servers": addresses})
        return
    for address in addresses:
        emit(address)


@auth.command(epilog=EPILOG)
@click.argument("address", type=OnionAddress(), metavar="ADDRESS")
@_state_dir
def remove(address: str, state_dir: Path | None) -> None:
    """Forget the key for a private server."""
    if not keyring(state_dir).remove(address.removesuffix(".onion")):
        raise UsageError(f"there is no key for {address}", hint="onion-rdv auth list shows which there are")
    say(f"forgot the key for {address}; a tor that was given it forgets it when it ends")
