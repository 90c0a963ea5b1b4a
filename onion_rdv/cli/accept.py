"""``onion-rdv accept``: from an invite and a passphrase to the link, and a look at the messaging server."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.invited import get_passphrase, open_bucket, warn_of_unknown_server
from onion_rdv.cli.kinds import RENDEZVOUS_SERVER
from onion_rdv.cli.qr import draw
from onion_rdv.cli.route import Route, route_options, tor_route
from onion_rdv.cli.secret_input import read_secret, refuse_to_share_stdin
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import complain, emit, emit_json, printable, refuse_journal, say, warn
from onion_rdv.errors import (
    MessagingCheckFailed,
    MessagingServerUnreachable,
    NotHandedOver,
    NoTor,
    RdvError,
    UsageError,
)
from onion_rdv.protocol import Invite

if TYPE_CHECKING:
    from onion_rdv.client.look import Look
    from onion_rdv.client.messaging import MessagingServer
    from onion_rdv.tor.socks import SocksPort


@click.command(epilog=EPILOG)
@click.argument("invite", required=False, metavar="[INVITE]")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Read the passphrase from FILE; - is stdin. Default: from the invite, or a prompt.")  # fmt: skip
@option(
    "--server",
    multiple=True,
    type=RENDEZVOUS_SERVER,
    metavar="ADDRESS",
    help="Warn when the invite names none of these.",
)
@option("--probe", type=click.Choice(["yes", "no", "require"]), default="yes", show_default=True,
        help="Look at the messaging server, and at the link where that uses nothing up.")  # fmt: skip
@click.option("--no-probe", "probe", flag_value="no", help="The same as --probe=no.")
@click.option("--open", "open_it", is_flag=True, help="Hand the link to the SimpleX app on this machine.")
@click.option("--qr", is_flag=True, help="Draw the link as a QR code too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@route_options
def accept(
    invite: str | None, passphrase_file: Path | None, server: tuple[str, ...], *, probe: str, **more: Any
) -> int:
    """Turn an INVITE and its passphrase back into the link, and print it.

    Then look, over a circuit of its own, at the messaging server that the link names: whether it answers, whether it
    is the one that the link means, and, for a SimpleX contact address, channel or group, whether the link is alive.
    Nothing is used up: of a one-time link nothing but the server's name is sent. INVITE is read from stdin (-) or at
    a prompt, and then stays out of the shell's history.
    """
    refuse_journal("the link", on_stderr=more["qr"])
    refuse_to_share_stdin(invite, "invite", passphrase_file)
    parsed = Invite.parse(read_secret(invite, "invite"))
    warn_of_unknown_server(parsed, server)
    passphrase = get_passphrase(parsed, passphrase_file)
    wanted = _Wanted(more["as_json"], look=probe != "no", required=probe == "require", qr=more["qr"])
    link, seen = asyncio.run(_accept(parsed, passphrase, Route.of(more), wanted))
    error = seen.failure(required=wanted.required)
    if error is not None:
        complain(error)
        return error.exit_code
    if more["open_it"]:
        _open_in_the_app(link)
    return 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    as_json: bool
    look: bool
    required: bool
    qr: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """The messaging server, and what was seen of it; each is None where there is none, or nobody looked."""

    server: MessagingServer | None = None
    look: Look | None = None
    broken_off: bool = False

    @property
    def words(self) -> str:
        """What was seen, for a person."""
        if self.broken_off:
            return "the look at it was broken off"
        if self.server is None:
            return "the link names no messaging server that could be asked"
        return "not asked" if self.look is None else self.look.detail

    @property
    def kind(self) -> str | None:
        """What sort of link it is, where that is known."""
        return self.server.smp.kind if self.server and self.server.smp else None

    def failure(self, *, required: bool) -> RdvError | None:
        """Give the error to end with: a failed check or a tor that is gone always is one, silence where asked for."""
        error = self.look.error if self.look else None
        if error is None and required and self.look is None:
            return MessagingServerUnreachable(self.words)
        return error if required or isinstance(error, MessagingCheckFailed | NoTor) else None

    def json(self) -> dict[str, Any]:
        """Give it for programs."""
        return {
            "host": self.server.host if self.server else None,
            "kind": self.kind,
            "reachable": self.look.reachable if self.look else None,
            "identity": self.look.identity if self.look else None,
            "alive": self.look.alive if self.look else None,
            "detail": self.words,
        }


async def _accept(invite: Invite, passphrase: str | None, route: Route, wanted: _Wanted) -> tuple[str, _Seen]:
    async with tor_route(route) as socks:
        link = await open_bucket(invite, passphrase, socks, route.timeout)
        _refuse_a_talk(link)
        _warn_of_what_it_is(link)
        if not wanted.as_json:
            emit(printable(link) if sys.stdout.isatty() else link)  # now: it is what the person waits for
        seen = _Seen(broken_off=True)
        try:
            if wanted.qr:
                draw(link)
            seen = await _look(link, socks, route.timeout, wanted)
        finally:  # whatever becomes of that, the link is not lost
            if wanted.as_json:
                emit_json({"link": link, "messaging_server": seen.json()})
    if wanted.as_json:
        return link, seen
    if seen.look is not None and seen.server is not None:
        say(f"messaging server {seen.server.host}: {seen.words}")
    elif wanted.look:
        say(seen.words)
    return link, seen


def _refuse_a_talk(link: str) -> None:
    from onion_rdv.client.talk.link import is_talk_link

    if is_talk_link(link):
        raise UsageError("this invite leads to a talk, not to a messaging app", hint="join it with onion-rdv talk")


def _warn_of_what_it_is(link: str) -> None:
    from onion_rdv.client.messaging import stays_here

    if not link.isprintable():
        warn(f"the link holds characters that cannot be seen: {printable(link)}")
    if stays_here(link):
        warn("the link leads to no server, but to something that this machine would open or run: do not open it")


def _open_in_the_app(link: str) -> None:
    from onion_rdv.cli.handover import hand_over
    from onion_rdv.client.messaging import for_the_app, stays_here

    uri = for_the_app(link)
    if uri is None:
        by_hand = "open it yourself, in a program that goes through Tor: a browser may not"
        raise NotHandedOver("only SimpleX links are", hint="do not open it" if stays_here(link) else by_hand)
    hand_over(uri)
    say("handed to the app; whether it goes through Tor is a setting of its own (network, SOCKS proxy)")


async def _look(link: str, socks: SocksPort, timeout: float, wanted: _Wanted) -> _Seen:
    from onion_rdv.client.messaging import messaging_server

    server = messaging_server(link)
    if server is None or not wanted.look:
        return _Seen(server)
    from onion_rdv.client.look import look

    if server.smp is not None:
        say(f"this is a SimpleX link: {server.smp.kind}")
    way = "" if server.is_onion else ", through an exit relay"
    say(f"asking the messaging server {server.host} over a circuit of its own{way} ...")
    return _Seen(server, await look(server, socks, timeout=timeout))
