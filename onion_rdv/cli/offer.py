"""``onion-rdv offer``: from a link to an invite and a passphrase."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.kinds import RENDEZVOUS_SERVER
from onion_rdv.cli.offering import Offering, Passphrase, get_passphrase, offer_options
from onion_rdv.cli.route import Route, route_options, tor_route
from onion_rdv.cli.secret_input import read_secret, refuse_to_share_stdin
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import emit_json, refuse_journal

if TYPE_CHECKING:
    from onion_rdv.client.offer import Offer


@click.command(epilog=EPILOG)
@click.argument("link", required=False, metavar="[LINK]")
@option(
    "--server",
    multiple=True,
    type=RENDEZVOUS_SERVER,
    metavar="ADDRESS",
    help="Rendezvous server; of several, one at random.",
)
@offer_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@route_options
def offer(link: str | None, *, as_json: bool, **options: Any) -> None:
    """Leave a connection LINK at a rendezvous server and get an invite for one person.

    The link is sealed here under a passphrase. Send the invite over one channel and the passphrase over another:
    who has only one of them has nothing. LINK is read from stdin (-) or at a prompt, and then stays out of the
    shell's history.
    """
    refuse_journal("the invite and the passphrase", on_stderr=not as_json or options["qr"])
    offering = Offering.of(options)
    refuse_to_share_stdin(link, "link", options["passphrase_file"])
    link = read_secret(link, "link")
    passphrase = get_passphrase(options)
    offered = asyncio.run(_offer(link, passphrase, offering, Route.of(options)))
    if as_json:
        emit_json(offering.describe(offered, passphrase))
    else:
        offering.show(offered, passphrase)
    offering.draw(offered, passphrase)


async def _offer(link: str, passphrase: Passphrase, offering: Offering, route: Route) -> Offer:
    from onion_rdv.client import offer as client_offer

    client_offer.check_link(link)
    async with tor_route(route) as socks:
        return await offering.leave(link, passphrase, socks, route.timeout)
