"""``onion-rdv accept``: from an invite and a passphrase to the link, and a look at the messaging server."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.route import Route, route_options, tor_route
from onion_rdv.cli.secret_input import ask, read_passphrase_file, read_secret, refuse_to_share_stdin
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import complain, emit, emit_json, printable, say, warn
from onion_rdv.errors import MessagingServerUnreachable, NoEntryOpens, UsageError
from onion_rdv.protocol import Invite

if TYPE_CHECKING:
    from onion_rdv.client.accept import Acceptance
    from onion_rdv.tor.socks import SocksPort

_PROMPTS = 3  # how often a person may try another passphrase on the same bucket


@click.command(epilog=EPILOG)
@click.argument("invite", required=False, metavar="[INVITE]")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Read the passphrase from FILE; - is stdin. Default: from the invite, or a prompt.")  # fmt: skip
@option("--server", multiple=True, metavar="ADDRESS", help="Warn when the invite names none of these.")
@option("--probe", type=click.Choice(["yes", "no", "require"]), default="yes", show_default=True,
        help="Ask whether the messaging server answers.")  # fmt: skip
@click.option("--no-probe", "probe", flag_value="no", help="The same as --probe=no.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@route_options
def accept(
    invite: str | None, passphrase_file: Path | None, server: tuple[str, ...], *, probe: str, **more: Any
) -> int:
    """Turn an INVITE and its passphrase back into the link, and print it.

    Then ask, over a circuit of its own, whether the messaging server named in the link answers; nothing of the link
    but that server's name is sent. INVITE is read from stdin (-) or at a prompt, and then stays out of the shell's
    history.
    """
    refuse_to_share_stdin(invite, "invite", passphrase_file)
    parsed = Invite.parse(read_secret(invite, "invite"))
    _warn_of_unknown_server(parsed, server)
    passphrase = _get_passphrase(parsed, passphrase_file)
    route = Route.of(more)
    seen = asyncio.run(_accept(parsed, passphrase, route, probe=probe, as_json=more["as_json"]))
    if probe == "require" and not seen.reachable:
        complain(MessagingServerUnreachable(seen.detail))
        return MessagingServerUnreachable.exit_code
    return 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of the messaging server; ``reachable`` is None where nobody asked."""

    host: str | None
    reachable: bool | None
    detail: str


async def _accept(invite: Invite, passphrase: str | None, route: Route, *, probe: str, as_json: bool) -> _Seen:
    from onion_rdv.client.accept import Acceptance

    async with tor_route(route) as socks:
        acceptance = Acceptance(invite, socks, timeout=route.timeout)
        say("fetching the bucket ...")
        link = await _open(acceptance, passphrase)
        if not link.isprintable():
            warn(f"the link holds characters that cannot be seen: {printable(link)}")
        if not as_json:
            emit(link)  # now: it is what the person waits for
        seen = await _look(link, socks, route.timeout, wanted=probe != "no")
    if as_json:
        emit_json({"link": link, "messaging_server": asdict(seen)})
    elif seen.reachable is not None:
        say(f"messaging server {seen.host}: {seen.detail}")
    elif probe != "no":
        say(seen.detail)
    return seen


async def _open(acceptance: Acceptance, passphrase: str | None) -> str:
    """Open the bucket; where the passphrase is typed, a slip of the finger costs no second fetch."""
    if passphrase is not None:
        return await acceptance.open(passphrase)
    for tries_left in reversed(range(_PROMPTS)):
        try:
            return await acceptance.open(ask("passphrase"))
        except NoEntryOpens as error:
            if not tries_left:
                raise
            complain(error)
    raise NoEntryOpens  # pragma: no cover - the loop above always ends before


async def _look(link: str, socks: SocksPort, timeout: float, *, wanted: bool) -> _Seen:
    from onion_rdv.client.messaging import messaging_server, probe

    server = messaging_server(link)
    if server is None:
        return _Seen(None, None, "the link names no messaging server that could be asked")
    if not wanted:
        return _Seen(server.host, None, "not asked")
    way = "" if server.is_onion else ", through an exit relay"
    say(f"asking the messaging server {server.host} over a circuit of its own{way} ...")
    answer = await probe(server, socks, timeout=timeout)
    return _Seen(server.host, answer.reachable, answer.detail)


def _get_passphrase(invite: Invite, file: Path | None) -> str | None:
    """Give the passphrase, or None where it has to be asked for."""
    if file is not None:
        return read_passphrase_file(file)
    if invite.passphrase is None and not sys.stdin.isatty():
        raise UsageError("there is no passphrase", hint="name a file with --passphrase-file (- is stdin)")
    return invite.passphrase


def _warn_of_unknown_server(invite: Invite, servers: tuple[str, ...]) -> None:
    from onion_rdv.client.server import RendezvousServer

    known = [RendezvousServer.parse(server) for server in servers]
    if known and RendezvousServer(invite.onion_key, invite.port) not in known:
        warn(
            f"the invite names a rendezvous server that is not among yours ({invite.onion_address}); whoever"
            " invites chooses the server, and may see when it is asked"
        )
