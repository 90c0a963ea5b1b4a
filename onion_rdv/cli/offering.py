"""Leaving a link at a rendezvous server and handing out an invite: what ``offer`` and ``talk`` have in common."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from onion_rdv.cli import passphrases
from onion_rdv.cli.qr import draw_invite
from onion_rdv.cli.secret_input import ask, read_passphrase_file
from onion_rdv.cli.settings import option
from onion_rdv.cli.terminal import emit, say, warn
from onion_rdv.errors import UsageError
from onion_rdv.protocol import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onion_rdv.client.offer import Offer
    from onion_rdv.client.server import RendezvousServer
    from onion_rdv.tor.socks import SocksPort

_DEFAULTS = Limits()


def offer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that :class:`Offering` is made of."""
    for decorate in (
        option("--max-bucket-number", type=click.IntRange(min=0), default=_DEFAULTS.max_bucket_number,
               show_default=True, metavar="N", help="Refuse a bucket with a higher number."),
        option("--max-clock-skew", type=click.IntRange(min=0), default=_DEFAULTS.max_clock_skew, show_default=True,
               metavar="SECONDS", help="How far the server's clock may be off ours."),
        option("--max-bucket-age", type=click.IntRange(min=0), default=_DEFAULTS.max_bucket_age, show_default=True,
               metavar="SECONDS", help="Refuse a bucket opened longer ago."),
        click.option("--qr", is_flag=True, help="Draw the invite as a QR code too."),
        click.option("--one-channel", is_flag=True,
                     help="Put the passphrase into the invite: who sees it has the link."),
        option("--words", type=click.IntRange(passphrases.MIN_WORDS, passphrases.MAX_WORDS), metavar="N",
               default=passphrases.DEFAULT_WORDS, show_default=True, help="Make a passphrase of N words."),
        click.option("--ask-passphrase", is_flag=True, help="Type a passphrase of your own."),
        click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="Read the passphrase from FILE; - is stdin."),
    ):  # fmt: skip
        command = decorate(command)
    return command


@dataclass(frozen=True, slots=True)
class Passphrase:
    """The passphrase of an offer."""

    text: str
    made_here: bool


@dataclass(frozen=True, slots=True)
class Offering:
    """How to leave a link, as it was asked for."""

    server: RendezvousServer
    limits: Limits
    one_channel: bool
    qr: bool

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take it from a command's options; raises :class:`~onion_rdv.errors.UsageError` without a server."""
        limits = Limits(options["max_bucket_age"], options["max_clock_skew"], options["max_bucket_number"])
        return cls(_choose_server(options["server"]), limits, options["one_channel"], options["qr"])

    async def leave(self, link: str, passphrase: Passphrase, socks: SocksPort, timeout: float) -> Offer:
        """Seal a link and leave it; raises as :func:`~onion_rdv.client.offer.offer` does."""
        from onion_rdv.client import offer as client_offer

        return await client_offer.offer(
            link,
            passphrase.text,
            self.server,
            socks,
            limits=self.limits,
            timeout=timeout,
            step=lambda what: say(f"{what} ..."),
        )

    def invite(self, offered: Offer, passphrase: Passphrase) -> str:
        """Give the invite to send."""
        invite = offered.invite
        return str(replace(invite, passphrase=passphrase.text) if self.one_channel else invite)

    def describe(self, offered: Offer, passphrase: Passphrase) -> dict[str, Any]:
        """Give for programs what there is to know of an offer."""
        return {
            "invite": self.invite(offered, passphrase),
            "passphrase": passphrase.text,
            "server": str(offered.server),
            "bucket": {"created_at": offered.bucket_id.created_at, "number": offered.bucket_id.number},
            "expires_at": offered.expires_at,
        }

    def show(self, offered: Offer, passphrase: Passphrase) -> None:
        """Print the invite, and tell the rest."""
        self._tell(offered, passphrase)
        emit(self.invite(offered, passphrase))

    def draw(self, offered: Offer, passphrase: Passphrase) -> None:
        """Draw the invite where that was asked for."""
        if self.qr:
            draw_invite(self.invite(offered, passphrase))

    def _tell(self, offered: Offer, passphrase: Passphrase) -> None:
        age = max(0, round(offered.checked_at - offered.bucket_id.created_at))
        until = datetime.fromtimestamp(offered.expires_at, UTC).astimezone()
        say(
            f"checked: our entry is in the bucket once, and in what others fetch over another circuit; the bucket was"
            f" opened {age} s ago and is number {offered.bucket_id.number} of its second"
        )
        say(f"the link waits until about {until:%Y-%m-%d %H:%M} (if the server keeps buckets for the usual 7 days)")
        if self.one_channel:
            say("the invite holds the passphrase: whoever sees it has the link")
        else:
            if passphrase.made_here:
                say(f"passphrase: {passphrase.text}")
            say("send the invite over one channel and the passphrase over another, to one person only")
        say("invite:")


def get_passphrase(options: Mapping[str, Any]) -> Passphrase:
    """Read, ask for or make the passphrase of an offer, as :func:`offer_options` say; warns of a weak one."""
    file, words = options["passphrase_file"], options["words"]
    if file is None and not options["ask_passphrase"]:
        _warn_if_weak(passphrases.measure_words(words))
        return Passphrase(passphrases.make(words), made_here=True)
    text = ask("passphrase", again=True) if file is None else read_passphrase_file(file)
    if text.strip():
        _warn_if_weak(passphrases.measure(text))
    return Passphrase(text, made_here=False)


def _choose_server(servers: tuple[str, ...]) -> RendezvousServer:
    from onion_rdv.client.server import RendezvousServer

    if not servers:
        raise UsageError(
            "no rendezvous server is named",
            hint='name one with --server ADDRESS.onion, or for good as server = ["ADDRESS.onion"] in the settings',
        )
    return secrets.choice([RendezvousServer.parse(server) for server in servers])


def _warn_if_weak(strength: passphrases.Strength) -> None:
    if strength.weak:
        warn(
            f"this passphrase withstands about {strength.words} of guessing by somebody who has the invite and"
            f" {passphrases.GUESSES_A_SECOND:,} guesses a second; {passphrases.DEFAULT_WORDS} random words withstand"
            f" {passphrases.measure_words(passphrases.DEFAULT_WORDS).words}"
        )
