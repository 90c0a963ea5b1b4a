"""One introduction as people make it: commands, over a private Tor network, each circuit a new one.

``offer`` and then ``accept`` make three requests (store, the look at the bucket, fetch). Beside them stand as many
fetches with curl, of as many bytes, from a bare onion service, one after the other; and a text that goes from
``wormhole send`` to ``wormhole receive`` by way of magic-wormhole's own mailbox server. All services are with one
tor, and all clients use another.

Before each, all circuits to onion services are closed that the client's tor has, which still knows their descriptors.
Our requests and curl's would have new ones anyway, by their SOCKS credentials; wormhole has none.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import ended, in_turn, ratios
from network import LINK, close_circuits, environment, private_network, published, serving
from peers import bare_handler, find_twist, mailbox_server
from rows import NOT_MEASURED, Measured, Row, alone

from onion_rdv.protocol.exchange import REQUEST_BODY_SIZE
from onion_rdv.protocol.keys import SALT_SIZE, stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from network import Network

BESIDE_CURLS = 1.1
BESIDE_WORMHOLE = 1.0
REQUESTS = 3
"""How many an introduction makes: a store and a fetch by ``offer``, a fetch by ``accept``."""

_CODE = re.compile(r"Wormhole code is: (\S+)")
_PATIENCE = 60
_REST = 1.0
"""Seconds before each try."""

_COMMAND = str(Path(sys.executable).with_name("onion-rdv"))


class Ways:
    """What an introduction, and what stands beside it, takes on a network, in seconds."""

    def __init__(self, network: Network, home: Path) -> None:
        self._network = network
        self._environment = environment(network, home)

    def ours(self, rendezvous: str) -> float:
        """Offer a link and accept it; the passphrase and the invite pass from one command to the other."""
        close_circuits(self._network, _REST)
        begun = time.perf_counter()
        offered = self._command(LINK, "offer", "-", "--server", rendezvous)
        invite = f"{offered['invite']}#{offered['passphrase'].replace(' ', '-')}"
        accepted = self._command(invite, "accept", "-", "--no-probe")
        took = time.perf_counter() - begun
        assert accepted["link"] == LINK
        return took

    def curls(self, address: str) -> float:
        """Fetch with curl, as often as an introduction does."""
        close_circuits(self._network, _REST)
        begun = time.perf_counter()
        for _ in range(REQUESTS):
            credentials = f"{secrets.token_hex(16)}:{secrets.token_hex(16)}"
            command = ["curl", "--silent", "--fail", "--socks5-hostname", self._network.client_socks]
            command += ["--proxy-user", credentials, "--data-binary", "@-", "--output", "/dev/null"]
            self._run([*command, f"http://{address}/v1/fetch"], "x" * REQUEST_BODY_SIZE)
        return time.perf_counter() - begun

    def wormhole(self, program: Path, address: str) -> float:
        """Send a text and receive it; the code passes from one command to the other."""
        close_circuits(self._network, _REST)
        begun = time.perf_counter()
        common = [str(program), "--relay-url", f"ws://{address}:80/v1", "--transit-helper", f"tcp:{address}:81"]
        tor = ["--tor", "--tor-control-port", f"tcp:{self._network.client_control}"]
        sending = [*common, "send", *tor, "--no-qr", "--hide-progress", "--text", "-"]
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(
                sending, env=self._environment, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True
            ) as sender,
            ended(sender),
        ):
            assert sender.stdin
            assert sender.stderr
            sender.stdin.write(LINK)
            sender.stdin.close()
            code = next((found[1] for line in sender.stderr if (found := _CODE.search(line))), None)
            if code is None:
                raise RuntimeError("wormhole send has shown no code")
            received = self._run([*common, "receive", *tor, "--hide-progress", "--only-text", code], "")
            took = time.perf_counter() - begun
            sender.stderr.read()
        assert received.strip() == LINK
        return took

    def _command(self, stdin: str, *words: str) -> dict[str, str]:
        said: dict[str, str] = json.loads(self._run([_COMMAND, *words, "--json"], stdin))
        return said

    def _run(self, command: list[str], stdin: str) -> str:
        done = subprocess.run(
            command,
            input=stdin,
            env=self._environment,
            check=True,
            text=True,
            timeout=_PATIENCE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return done.stdout


def argon2id() -> float:
    """Measure the one Argon2id of 64 MiB that ``offer`` and ``accept`` make each."""
    begun = time.perf_counter()
    stretch(b"correct horse battery staple", bytes(SALT_SIZE))
    return time.perf_counter() - begun


@contextlib.contextmanager
def contenders(network: Network, place: Path) -> Iterator[Mapping[str, Callable[[], float]]]:
    """Run the three services; gives what is to be measured, by name."""
    ways = Ways(network, place)
    with contextlib.ExitStack() as running:
        rendezvous, _ = running.enter_context(serving(network, place))
        handler = running.enter_context(bare_handler(place))
        bare = running.enter_context(published(network, handler.address))
        found: dict[str, Callable[[], float]] = {
            "offer + accept": partial(ways.ours, rendezvous),
            "curls": partial(ways.curls, bare),
            "argon2id": argon2id,
        }
        if twist := find_twist():
            peer = running.enter_context(mailbox_server(twist, place))
            address = running.enter_context(published(network, peer.address))
            found["wormhole"] = partial(ways.wormhole, Path(twist).with_name("wormhole"), address)
        yield found


def measure(network: Network, rounds: int = 8) -> Measured:
    """Measure everything here, in less than a minute and a half; gives rows, and what else there is to say."""
    with tempfile.TemporaryDirectory() as place, contenders(network, Path(place)) as found:
        for contender in found.values():  # the client's tor has all descriptors after that
            contender()
        measured = in_turn(found, rounds)
    ours, curls = measured["offer + accept"], measured["curls"]
    rows = [Row(f"offer + accept / as many curls ({REQUESTS})", ratios(ours, curls), BESIDE_CURLS, "low")]
    told = [
        f"{name}: {statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})"
        for name, took in measured.items()
        if name != "argon2id"
    ]
    share = [2 * one / whole for one, whole in zip(measured["argon2id"], ours, strict=True)]
    told.append(
        f"Argon2id's part of offer + accept, if nothing else went on meanwhile: {statistics.median(share):.0%} (twice"
        f" {statistics.median(measured['argon2id']) * 1000:.0f} ms)"
    )
    beside = ratios(ours, measured["wormhole"]) if "wormhole" in measured else []
    rows.append(Row("offer + accept / magic-wormhole's text exchange", beside, BESIDE_WORMHOLE, "low"))
    if beside:
        told.append(
            "wormhole has no SOCKS credentials: all that it sends through one tor within ten minutes goes over one"
            " circuit, the receiver's after the sender's too, where two people would need one each"
        )
    else:
        told.append(f"{NOT_MEASURED}magic-wormhole and its mailbox server are not installed in .venv-bench")
    return Measured(rows, told)


if __name__ == "__main__":
    alone(measure, private_network)
