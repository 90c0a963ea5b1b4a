"""``onion-rdv talk``: two people who have only this program write to each other."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.invited import get_passphrase as get_invited_passphrase
from onion_rdv.cli.invited import open_bucket, warn_of_unknown_server
from onion_rdv.cli.kinds import MESSAGING_SERVER, RENDEZVOUS_SERVER
from onion_rdv.cli.offering import Offering, Passphrase, get_passphrase, offer_options
from onion_rdv.cli.route import Route, route_options, tor_route
from onion_rdv.cli.secret_input import STDIN, ask, read_argument, read_secret_file
from onion_rdv.cli.settings import EPILOG, option
from onion_rdv.cli.terminal import emit_json, refuse_journal, say
from onion_rdv.cli.tidy_end import not_ignored
from onion_rdv.errors import UsageError
from onion_rdv.protocol import Invite

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from onion_rdv.cli.talking.face import Face
    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.smp.wire.address import SmpServer


_LAST_WORDS = 2.0  # seconds that what is told at the very end may take to be written


@click.command(epilog=EPILOG)
@click.argument("invite", required=False, metavar="[INVITE]")
@click.option("--join", is_flag=True, help="Join with an invite that is asked for, and not shown.")
@click.option("--invite-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Join with the invite in FILE.")  # fmt: skip
@option("--messaging-server", type=MESSAGING_SERVER, secret=True, metavar="ADDRESS",
        help="Where what is said to you waits: smp://FINGERPRINT[:PASSWORD]@HOST[:PORT].")  # fmt: skip
@option(
    "--server",
    multiple=True,
    type=RENDEZVOUS_SERVER,
    metavar="ADDRESS",
    help="Rendezvous server; of several, one at random.",
)
@offer_options
@click.option("--plain", is_flag=True, help="Lines in and lines out at a terminal too, without a prompt.")
@click.option("--json", "as_json", is_flag=True, help="JSON in, JSON out, one object a line.")
@route_options
def talk(invite: str | None, *, join: bool, plain: bool, as_json: bool, **options: Any) -> None:
    """Begin a talk and get an invite for one person, or join one with the INVITE.

    Both write to each other over messaging servers (SMP, as SimpleX uses them) through Tor, end-to-end encrypted with
    keys that live in memory and for this talk only; this is not the double ratchet of the SimpleX app, which cannot
    join. Compare the three words that both see, by voice: then nobody sits between you. /quit leaves, and deletes
    what is on the servers. In a pipe every line is a message: docs/talk.md. An INVITE that is typed here stays in the
    shell's history; --join asks for it.
    """
    if STDIN in {str(options["passphrase_file"]), str(options["invite_file"]), invite}:
        raise UsageError("stdin is for what you say", hint="name a file, or type at a prompt")
    refuse_journal("what is said", on_stderr=not as_json or options["qr"])
    text = _find_invite(invite, options["invite_file"], ask_for_it=join)
    face = _choose_face(plain=plain, as_json=as_json)
    server = _parse_server(options["messaging_server"])
    route = Route.of(options)
    if text is None:
        if server is None:
            raise UsageError(
                "no messaging server is named",
                hint="name one with --messaging-server smp://FINGERPRINT@HOST.onion, or for good in the settings",
            )
        offering, passphrase = Offering.of(options), get_passphrase(options)
        work = _begin(server, offering, passphrase, route, face, as_json=as_json)
    else:
        parsed = Invite.parse(text)
        warn_of_unknown_server(parsed, options["server"])
        joining = get_invited_passphrase(parsed, options["passphrase_file"])
        work = _join(parsed, joining, server, route, face)
    try:
        asyncio.run(_ended_by_signals(work))
    except asyncio.CancelledError:
        raise click.Abort from None
    finally:
        face.finish(_LAST_WORDS)


async def _begin(
    server: SmpServer, offering: Offering, passphrase: Passphrase, route: Route, face: Face, *, as_json: bool
) -> None:
    from onion_rdv.client.talk.opening import begin

    async with tor_route(route) as socks:
        _tell_of_exit(server)
        say(f"making a queue at the messaging server {server.host} ...")
        async with begin(socks, server, timeout=route.timeout, tell=face.tell) as talk:
            offered = await offering.leave(str(talk.link), passphrase, socks, route.timeout)
            _leave_by_signals(talk)
            if as_json:
                emit_json({"event": "invite", **offering.describe(offered, passphrase)})
            else:
                offering.show(offered, passphrase)
            offering.draw(offered, passphrase)
            say("waiting for the other; the talk needs this program to keep running (Ctrl-C ends it)")
            await _converse(talk, face)


async def _join(invite: Invite, passphrase: str | None, server: SmpServer | None, route: Route, face: Face) -> None:
    from onion_rdv.client.talk.link import TalkLink
    from onion_rdv.client.talk.opening import join

    async with tor_route(route) as socks:
        link = TalkLink.parse(await open_bucket(invite, passphrase, socks, route.timeout))
        for one in {link.server, server or link.server}:
            _tell_of_exit(one)
        say(f"joining at the messaging server {link.server.host} ...")
        async with join(link, socks, server, timeout=route.timeout, tell=face.tell) as talk:
            _leave_by_signals(talk)
            say("waiting for the other's answer")
            await _converse(talk, face)


async def _converse(talk: Talk, face: Face) -> None:
    feeding = asyncio.create_task(face.feed(talk))
    feeding.add_done_callback(lambda done: talk.leave() if not done.cancelled() and done.exception() else None)
    try:
        await talk.run(face.until_shown)
        if not talk.is_leaving:  # else nobody has to wait for who takes nothing
            await face.until_shown()
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
    if not feeding.cancelled():
        feeding.result()  # raises what could not be said
    if talk.session is None:
        say("nobody has come; the invite leads nowhere now")


def _find_invite(invite: str | None, file: Path | None, *, ask_for_it: bool) -> str | None:
    if (invite is not None) + (file is not None) + ask_for_it > 1:
        raise UsageError("there is more than one invite", hint="give INVITE, or --invite-file, or --join")
    if file is not None:
        return read_secret_file(file, "invite").strip()
    if ask_for_it:
        return ask("invite")
    return None if invite is None else read_argument(invite, "invite", "--join asks for it")


def _choose_face(*, plain: bool, as_json: bool) -> Face:
    if as_json:
        from onion_rdv.cli.talking.programs import Programs

        return Programs()
    if plain or os.environ.get("TERM") == "dumb" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from onion_rdv.cli.talking.lines import Lines

        return Lines()
    from onion_rdv.cli.talking.prompt import Prompt

    return Prompt()


def _parse_server(address: str | None) -> SmpServer | None:
    from onion_rdv.smp.wire.address import SmpServer

    return None if address is None else SmpServer.parse(address)


def _tell_of_exit(server: SmpServer) -> None:
    from onion_rdv.cli.talking.words import through_exit
    from onion_rdv.protocol.host import is_onion

    if not is_onion(server.host):
        say(through_exit(server.host))


async def _ended_by_signals(work: Coroutine[None, None, None]) -> None:
    """Let a wish to end do what Ctrl-C does: whatever lies on servers by then is erased."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        for number in not_ignored((signal.SIGTERM, signal.SIGHUP)):
            loop.add_signal_handler(number, task.cancel)
    await work


def _leave_by_signals(talk: Talk) -> None:
    """Leave at the first signal; give up at the second, but for erasing what lies on the server."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def leave() -> None:
        if talk.is_ending and task is not None:
            task.cancel()
        talk.leave()

    for number in not_ignored((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        loop.add_signal_handler(number, leave)
