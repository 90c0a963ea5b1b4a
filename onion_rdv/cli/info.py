"""``onion-rdv info``: what an invite holds, without contacting anybody."""

from __future__ import annotations

import click

from onion_rdv.cli.secret_input import read_secret
from onion_rdv.cli.terminal import emit, emit_json
from onion_rdv.protocol import Invite


@click.command()
@click.argument("invite", required=False, metavar="[INVITE]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(invite: str | None, *, as_json: bool) -> None:
    """Say what an INVITE holds, without contacting anybody.

    INVITE is read from stdin (-) or at a prompt. A passphrase in it is not shown.
    """
    parsed = Invite.parse(read_secret(invite, "invite"))
    if as_json:
        emit_json(
            {
                "server": parsed.onion_address,
                "port": parsed.port,
                "bucket_link": parsed.bucket_link.hex(),
                "has_passphrase": parsed.passphrase is not None,
            }
        )
        return
    emit(f"rendezvous server  {parsed.onion_address}, port {parsed.port}")
    emit(f"bucket link        {parsed.bucket_link.hex()} (a slow hash of the time the bucket was opened)")
    emit("salt               16 bytes, for this one entry")
    if parsed.passphrase is None:
        emit("passphrase         not in it: it comes over another channel")
    else:
        emit("passphrase         in it: whoever has this invite has the link")
