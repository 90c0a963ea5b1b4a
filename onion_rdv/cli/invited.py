"""From an invite to what it leads to: what ``accept`` and ``talk`` have in common."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from onion_rdv.cli.secret_input import ask, read_passphrase_file
from onion_rdv.cli.terminal import complain, say, warn
from onion_rdv.cli.tidy_end import interruptible
from onion_rdv.errors import NoEntryOpens, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.protocol import Invite
    from onion_rdv.tor.socks import SocksPort

_PROMPTS = 3  # how often a person may try another passphrase on the same bucket


def get_passphrase(invite: Invite, file: Path | None) -> str | None:
    """Give the passphrase, or None where it has to be asked for."""
    if file is not None:
        return read_passphrase_file(file)
    if invite.passphrase is None and not sys.stdin.isatty():
        raise UsageError("there is no passphrase", hint="name a file with --passphrase-file (- is stdin)")
    return invite.passphrase


def warn_of_unknown_server(invite: Invite, servers: tuple[str, ...]) -> None:
    """Warn where an invite names a server that is not among ``servers``; where there are none, all are welcome."""
    from onion_rdv.client.server import RendezvousServer

    known = [RendezvousServer.parse(server) for server in servers]
    if known and RendezvousServer(invite.onion_key, invite.port) not in known:
        warn(
            f"the invite names a rendezvous server that is not among yours ({invite.onion_address}); whoever"
            " invites chooses the server, and may see when it is asked"
        )


async def open_bucket(invite: Invite, passphrase: str | None, socks: SocksPort, timeout: float) -> str:
    """Fetch the bucket and give the link; asks for the passphrase where it is None.

    A slip of the finger then costs no second fetch. Raises as :meth:`~onion_rdv.client.accept.Acceptance.open` does.
    """
    from onion_rdv.client.accept import Acceptance

    acceptance = Acceptance(invite, socks, timeout=timeout, step=lambda what: say(f"{what} ..."))
    say("fetching the bucket ...")
    if passphrase is not None:
        return await acceptance.open(passphrase)
    for tries_left in reversed(range(_PROMPTS)):
        try:
            with interruptible():
                said = ask("passphrase")
            return await acceptance.open(said)
        except NoEntryOpens as error:
            if not tries_left:
                raise
            complain(error)
    raise NoEntryOpens  # pragma: no cover - the loop above always ends before
