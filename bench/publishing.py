"""How long until there is something to use, an onion service or a private network, beside tor without this project.

``onion-rdv serve`` with a tor of its own beside a tor that has the same service in its torrc: both from nothing, and
until every directory that tor began with has the descriptor. ``onion-rdv testnet up`` beside a plain script that
starts as many tors with the same torrcs: both until a client gets a reply through the network.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bare_network import bare_network
from bare_tor import SERVICE_TORRC, Control, running
from harness import ended, in_turn
from introductions import FAILURES, answering, fetch
from network import environment, lone_environment, private_network
from rows import Measured, Row, alone

from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from network import Network

AT_MOST = 1.1

_ONION_RDV = (sys.executable, "-m", "onion_rdv")
_PATIENCE = 60.0


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


def _serve(env: Mapping[str, str], *options: str | Path) -> float:
    """Give the seconds from the start of ``onion-rdv serve`` to the address that it prints once it is published."""
    begun = time.perf_counter()
    command = [*_ONION_RDV, "serve", *map(str, options)]
    with (
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
        ended(process),
    ):
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the rendezvous server did not start")
        return time.perf_counter() - begun


def serve_with_own_tor(network: Network) -> float:
    """Have the server start a tor."""
    with _place() as place:
        return _serve(lone_environment(place), "--torrc", network.torrc)


def bare_tor(network: Network) -> float:
    """Start a tor with the service in its torrc."""
    with _place() as place:
        begun = time.perf_counter()
        torrc = network.torrc.read_text() + SERVICE_TORRC.format(place=place)
        with running(place, torrc), Control(place / "control") as control:
            control.ask("SETEVENTS HS_DESC")
            control.until_published()
            return time.perf_counter() - begun


def serve_with_network_tor(network: Network) -> float:
    """Have the server publish with a tor that runs already."""
    with _place() as place:
        return _serve(environment(network, place))


def bare_command(network: Network) -> float:
    """Tell a tor that runs already to publish a service."""
    with _place() as place:
        begun = time.perf_counter()
        cookie = network.directory / "service" / "control_auth_cookie"
        with Control(network.service_control, cookie) as control:
            control.publish(place / "socket")
            return time.perf_counter() - begun


async def _first_reply(socks: str, control: str, cookie: Path) -> None:
    """Have a service published, and ask it until it answers."""
    with _place() as place:
        async with answering(place / "socket"):
            with Control(control, cookie) as connection:
                address = await asyncio.to_thread(connection.publish, place / "socket")
                deadline = time.monotonic() + _PATIENCE
                while True:
                    try:
                        await fetch(SocksPort.parse(socks), address)
                    except FAILURES:
                        if time.monotonic() > deadline:
                            raise
                    else:
                        return


def testnet_up() -> float:
    """Bring up a network with the command, and use it."""
    with _place() as place:
        env = lone_environment(place)
        begun = time.perf_counter()
        command = [*_ONION_RDV, "testnet"]
        try:
            up = subprocess.run([*command, "up", "--json"], env=env, check=True, capture_output=True)
            network = json.loads(up.stdout)["network"]
            cookie = Path(network["directory"]) / "service" / "control_auth_cookie"
            asyncio.run(_first_reply(network["client_socks"], network["service_control"], cookie))
            return time.perf_counter() - begun
        finally:
            subprocess.run([*command, "down"], env=env, check=True, capture_output=True)


def script_up() -> float:
    """Bring up a network with the script, and use it."""
    with _place() as place:
        begun = time.perf_counter()
        with bare_network(place) as network:
            asyncio.run(_first_reply(network.client_socks, network.service_control, network.cookie))
            return time.perf_counter() - begun


class Pair:
    """Ours and a bare one, measured in turn: the seconds of every round."""

    def __init__(self, ours: Callable[[], float], bare: Callable[[], float], rounds: int) -> None:
        times = in_turn({"ours": ours, "bare": bare}, rounds)
        self.ours, self.bare = times["ours"], times["bare"]
        self.ratios = [mine / other for mine, other in zip(self.ours, self.bare, strict=True)]

    def __str__(self) -> str:
        return f"{statistics.median(self.ours):.2f} s, and {statistics.median(self.bare):.2f} s without us"


def measure(network: Network, rounds: int = 3, boots: int = 1) -> Measured:
    """Measure everything here in some 80 seconds."""
    own = Pair(partial(serve_with_own_tor, network), partial(bare_tor, network), rounds)
    running_one = Pair(partial(serve_with_network_tor, network), partial(bare_command, network), rounds - 1)
    boot = Pair(testnet_up, script_up, boots)
    rows = [
        Row("serve, until published / a tor with the same torrc", own.ratios, AT_MOST, "low"),
        Row("testnet up, until a reply comes through / a plain script", boot.ratios, AT_MOST, "low"),
    ]
    times = statistics.median(running_one.ratios)
    told = [
        f"serve, which starts a tor, until published: {own}",
        f"serve, with a tor that runs already, until published: {running_one}; {times:.2f} times",
        f"testnet up, until a reply comes through: {boot}; rounds: {boots}",
    ]
    return Measured(rows, told)


if __name__ == "__main__":
    alone(measure, private_network)
