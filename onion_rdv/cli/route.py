"""Finding the way into Tor for a client command, and what every client command can be told about it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from onion_rdv.cli.admission import admitted
from onion_rdv.cli.kinds import CONTROL_PORT, READABLE_FILE, SOCKS_PORT, TIMEOUT
from onion_rdv.cli.own_process import forget_variables
from onion_rdv.cli.settings import option, state_directory
from onion_rdv.cli.terminal import ProgressBar, say
from onion_rdv.errors import NoTor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from onion_rdv.tor.socks import SocksPort

_BOOT_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class Route:
    """How to get into Tor, as it was asked for."""

    socks: str | None
    socks_control: str | None
    torrc: Path | None
    state_dir: Path | None
    timeout: float

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take it from a command's options, among which :func:`route_options` put them."""
        return cls(
            options["socks"],
            options["socks_control"],
            options["torrc"],
            options["state_dir"],
            options["timeout"],
        )


socks_control_option = option(
    "--socks-control",
    type=CONTROL_PORT,
    metavar="ADDRESS",
    help="Control port of that tor, for private servers. Default: the usual places.",
)


def route_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that :class:`Route` is made of."""
    for decorate in (
        option("--timeout", type=TIMEOUT, default=60, show_default=True, metavar="SECONDS",
               help="Give up on a request after this long."),
        option("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
               help="Where a tor of our own keeps its data."),
        option("--torrc", type=READABLE_FILE, metavar="FILE",
               help="More torrc lines (bridges) for a tor of our own."),
        socks_control_option,
        option("--socks", type=SOCKS_PORT, metavar="HOST:PORT",
               help="Tor's SOCKS port. Default: 127.0.0.1:9050, then 9150, then a tor of our own."),
    ):  # fmt: skip
        command = decorate(command)
    return command


@asynccontextmanager
async def tor_route(route: Route) -> AsyncIterator[SocksPort]:
    """Give the SOCKS port of a tor that is there, or of one that runs until the command is done.

    It has the keys for private servers that are kept here. Raises :class:`~onion_rdv.errors.NoTor` and its kinds. A
    port that was named and is not Tor's is never used, and nothing else is tried in its place.
    """
    async with _some_tor(route) as (socks, control), admitted(route.state_dir, socks, control):
        yield socks


@asynccontextmanager
async def _some_tor(route: Route) -> AsyncIterator[tuple[SocksPort, str | None]]:
    """Give a tor's SOCKS port, and its control port where that is known."""
    from onion_rdv.tor import socks as tor_socks

    if route.socks:
        yield await tor_socks.named_socks(route.socks), route.socks_control
        return
    found = await tor_socks.find_socks()
    if found is not None:
        yield found, route.socks_control
        return
    from onion_rdv.tor import own_tor

    say("no tor is running here; starting one (the first time takes longest)")
    forget_variables()
    directory = own_tor.pick_free_directory(state_directory(route.state_dir) / "client-tor")
    with ProgressBar("starting tor") as progress:
        tor = await own_tor.launch(
            directory, socks=True, extra_torrc=route.torrc, progress=progress, timeout=_BOOT_TIMEOUT
        )
    try:
        if tor.socks is None:
            raise NoTor("the tor that was started has no SOCKS port")
        yield replace(tor_socks.SocksPort.parse(tor.socks), checked=True, runs=tor.runs), tor.control
    finally:
        await tor.stop()
