"""``onion-rdv offer``: from a link to an invite and a passphrase."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli import passphrases
from onion_rdv.cli.qr import draw_invite
from onion_rdv.cli.route import Route, route_options, tor_route
from onion_rdv.cli.secret_input import ask, read_passphrase_file, read_secret, refuse_to_share_stdin
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import emit, emit_json, say, warn
from onion_rdv.errors import UsageError
from onion_rdv.protocol import Limits

if TYPE_CHECKING:
    from onion_rdv.client.offer import Offer
    from onion_rdv.client.server import RendezvousServer

_DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class _Passphrase:
    text: str
    made_here: bool


@click.command(epilog=EPILOG)
@click.argument("link", required=False, metavar="[LINK]")
@option("--server", multiple=True, metavar="ADDRESS", help="Rendezvous server; of several, one at random.")
@click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Read the passphrase from FILE; - is stdin.")  # fmt: skip
@click.option("--ask-passphrase", is_flag=True, help="Type a passphrase of your own.")
@option("--words", type=click.IntRange(passphrases.MIN_WORDS, passphrases.MAX_WORDS), metavar="N",
        default=passphrases.DEFAULT_WORDS, show_default=True, help="Make a passphrase of N words.")  # fmt: skip
@click.option("--one-channel", is_flag=True, help="Put the passphrase into the invite: who sees it has the link.")
@click.option("--qr", is_flag=True, help="Draw the invite as a QR code too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@option("--max-bucket-age", type=click.IntRange(min=0), default=_DEFAULTS.max_bucket_age, show_default=True,
        metavar="SECONDS", help="Refuse a bucket opened longer ago.")  # fmt: skip
@option("--max-clock-skew", type=click.IntRange(min=0), default=_DEFAULTS.max_clock_skew, show_default=True,
        metavar="SECONDS", help="How far the server's clock may be off ours.")  # fmt: skip
@option("--max-bucket-number", type=click.IntRange(min=0), default=_DEFAULTS.max_bucket_number, show_default=True,
        metavar="N", help="Refuse a bucket with a higher number.")  # fmt: skip
@route_options
def offer(
    link: str | None,
    server: tuple[str, ...],
    passphrase_file: Path | None,
    words: int,
    max_bucket_age: int,
    max_clock_skew: int,
    max_bucket_number: int,
    **more: Any,
) -> None:
    """Leave a connection LINK at a rendezvous server and get an invite for one person.

    The link is sealed here under a passphrase. Send the invite over one channel and the passphrase over another:
    who has only one of them has nothing. LINK is read from stdin (-) or at a prompt, and then stays out of the
    shell's history.
    """
    chosen = _choose_server(server)
    refuse_to_share_stdin(link, "link", passphrase_file)
    link = read_secret(link, "link")
    passphrase = _get_passphrase(passphrase_file, words, ask_for_it=more["ask_passphrase"])
    limits = Limits(max_bucket_age, max_clock_skew, max_bucket_number)
    route = Route.of(more)
    offered = asyncio.run(_offer(link, passphrase.text, chosen, limits, route))
    _show(offered, passphrase, one_channel=more["one_channel"], qr=more["qr"], as_json=more["as_json"])


async def _offer(link: str, passphrase: str, server: RendezvousServer, limits: Limits, route: Route) -> Offer:
    from onion_rdv.client import offer as client_offer

    client_offer.check_link(link)
    async with tor_route(route) as socks:
        return await client_offer.offer(
            link,
            passphrase,
            server,
            socks,
            limits=limits,
            timeout=route.timeout,
            step=lambda what: say(f"{what} ..."),
        )


def _choose_server(servers: tuple[str, ...]) -> RendezvousServer:
    from onion_rdv.client.server import RendezvousServer

    if not servers:
        raise UsageError(
            "no rendezvous server is named",
            hint='name one with --server ADDRESS.onion, or for good as server = ["ADDRESS.onion"] in the settings',
        )
    return secrets.choice([RendezvousServer.parse(server) for server in servers])


def _get_passphrase(file: Path | None, words: int, *, ask_for_it: bool) -> _Passphrase:
    if file is None and not ask_for_it:
        _warn_if_weak(passphrases.measure_words(words))
        return _Passphrase(passphrases.make(words), made_here=True)
    text = ask("passphrase", again=True) if file is None else read_passphrase_file(file)
    if text.strip():
        _warn_if_weak(passphrases.measure(text))
    return _Passphrase(text, made_here=False)


def _warn_if_weak(strength: passphrases.Strength) -> None:
    if strength.weak:
        warn(
            f"this passphrase withstands about {strength.words} of guessing by somebody who has the invite and"
            f" {passphrases.GUESSES_A_SECOND:,} guesses a second; {passphrases.DEFAULT_WORDS} random words withstand"
            f" {passphrases.measure_words(passphrases.DEFAULT_WORDS).words}"
        )


def _show(offered: Offer, passphrase: _Passphrase, *, one_channel: bool, qr: bool, as_json: bool) -> None:
    invite = replace(offered.invite, passphrase=passphrase.text) if one_channel else offered.invite
    if as_json:
        emit_json(
            {
                "invite": str(invite),
                "passphrase": passphrase.text,
                "server": str(offered.server),
                "bucket": {"created_at": offered.bucket_id.created_at, "number": offered.bucket_id.number},
                "expires_at": offered.expires_at,
            }
        )
    else:
        _tell(offered, passphrase, one_channel=one_channel)
        emit(str(invite))
    if qr:
        draw_invite(str(invite))


def _tell(offered: Offer, passphrase: _Passphrase, *, one_channel: bool) -> None:
    age = max(0, round(offered.checked_at - offered.bucket_id.created_at))
    until = datetime.fromtimestamp(offered.expires_at, UTC).astimezone()
    say(
        f"checked: our entry is in the bucket once, and in what others fetch over another circuit; the bucket was"
        f" opened {age} s ago and is number {offered.bucket_id.number} of its second"
    )
    say(f"the link waits until about {until:%Y-%m-%d %H:%M} (if the server keeps buckets for the usual 7 days)")
    if one_channel:
        say("the invite holds the passphrase: whoever sees it has the link")
    else:
        if passphrase.made_here:
            say(f"passphrase: {passphrase.text}")
        say("send the invite over one channel and the passphrase over another, to one person only")
    say("invite:")
