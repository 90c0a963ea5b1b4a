"""Many clients at once over the private network, each request on a circuit of its own: our server beside a bare one.

Both are onion services of one tor, with the same settings. The tors of client, relays and service share this
machine's processors with the server, and keep them busy; so how many answers come in a second is what one of them
costs all of these together.
"""

from __future__ import annotations

import asyncio
import http.client
import secrets
import socket
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from contender import Rendezvous
from harness import BENCH, family_seconds, in_turn, processor_seconds, server
from introductions import CLIENTS, FAILURES, fetch
from network import close_circuits, private_network, published, serving
from rows import Measured, Row, alone

from onion_rdv.protocol import bucket_link, decode_onion_address
from onion_rdv.protocol.exchange import (
    FETCH_PADDING_SIZE,
    FETCH_PATH,
    REPLY_SIZE,
    REQUEST_BODY_SIZE,
    STORE_PATH,
    fetch_body,
)
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from network import Network

AT_LEAST = 0.95

_REST = 0.5
"""Seconds between two rounds."""


@dataclass(frozen=True)
class Contender:
    """An onion service, the process behind it, what each client asks of it, and how a good reply begins."""

    address: str
    process: int
    path: str
    body: Callable[[], bytes]
    status: str
    size: int = REPLY_SIZE
    """Bytes of a reply, from its status line to its end."""

    async def ask(self, socks: SocksPort) -> None:
        """Be served once; raises ConnectionError for a reply that is not a good one."""
        reply = await fetch(socks, self.address, _request(self.address, self.path, self.body()), self.size)
        if not reply.startswith(f"HTTP/1.1 {self.status} ".encode()):
            raise ConnectionError(f"{self.address} does not do what it is asked")


def _request(host: str, path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _random_body() -> bytes:
    return secrets.token_bytes(REQUEST_BODY_SIZE)


class Crowd:
    """The clients; they note what an answer costs, and count those of their requests that failed."""

    def __init__(self, network: Network, answers: int) -> None:
        self.costs: dict[Contender, list[float]] = {}
        """Seconds of a processor that all tors and the server need for an answer."""
        self.failed = 0
        self._socks = SocksPort.parse(network.client_socks)
        self._network = network
        self._answers = answers

    def ask(self, contender: Contender) -> float:
        """Have all of them ask one contender, again and again; gives answers a second."""
        before = self._busy(contender)
        times = asyncio.run(self._ask(contender))
        self.costs.setdefault(contender, []).append((self._busy(contender) - before) / len(times))
        close_circuits(self._network, _REST)
        return self._answers / times[self._answers - 1]

    def _busy(self, contender: Contender) -> float:
        """Give the processor seconds of all tors and the server."""
        return family_seconds(self._network.keeper_pid) + sum(processor_seconds(contender.process))

    async def _ask(self, contender: Contender) -> list[float]:
        """Give after how many seconds each answer came; the last ones are those that were still under way."""
        times: list[float] = []
        begun = time.perf_counter()

        async def client() -> None:
            while len(times) < self._answers:
                try:
                    await contender.ask(self._socks)
                except FAILURES:
                    self.failed += 1
                else:
                    times.append(time.perf_counter() - begun)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return times


@contextmanager
def _bare(network: Network, place: Path) -> Iterator[Contender]:
    path = place / "bare"
    with (
        server(sys.executable, BENCH / "bare.py", path) as process,
        published(network, path, proof_of_work=True) as address,
    ):
        yield Contender(address, process, FETCH_PATH, _random_body, "200", _reply_size(path))


def _reply_size(path: Path) -> int:
    """Ask the bare server itself how many bytes its replies have, which are all alike."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(_request("x", FETCH_PATH, _random_body()))
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        head = len(f"HTTP/1.1 {reply.status} {reply.reason}\r\n") + len(str(reply.headers).replace("\n", "\r\n"))
        return head + len(reply.read())


@contextmanager
def _ours(network: Network, place: Path) -> Iterator[tuple[Contender, Contender]]:
    """Run the server; gives it to fetch from and to store with."""
    target = Rendezvous(place / "ours")
    options = ["--state-dir", place / "state", "--listen", target.socket, "--max-new-buckets", "0"]
    with serving(network, place, *map(str, options)) as (address, process):
        link = bucket_link(target.store(), decode_onion_address(address))
        target.settle()

        def fetch_of_it() -> bytes:
            return fetch_body(link, secrets.token_bytes(FETCH_PADDING_SIZE))

        yield (
            Contender(address, process, FETCH_PATH, fetch_of_it, "200"),
            Contender(address, process, STORE_PATH, _random_body, "201"),
        )


def measure(network: Network, rounds: int = 7, answers: int = 64) -> Measured:
    """Measure everything here in a minute."""
    crowd = Crowd(network, answers)
    with (
        tempfile.TemporaryDirectory() as place,
        _bare(network, Path(place)) as bare,
        _ours(network, Path(place)) as (fetches, stores),
    ):
        contenders = {"bare": bare, "fetches": fetches, "stores": stores}
        for contender in contenders.values():  # the client has the descriptor after that
            crowd.ask(contender)
        crowd.costs.clear()
        crowd.failed = 0
        rates = in_turn({name: partial(crowd.ask, each) for name, each in contenders.items()}, rounds)
    rows = []
    for name in ("fetches", "stores"):
        ratios = [ours / bare for ours, bare in zip(rates[name], rates["bare"], strict=True)]
        rows.append(
            Row(f"{name} by {CLIENTS} clients at once over Tor / a bare onion service", ratios, AT_LEAST, "high")
        )
    fast = ", ".join(f"{name} {statistics.median(each):.1f}" for name, each in rates.items())
    dear = ", ".join(f"{name} {1000 * statistics.median(crowd.costs[each]):.1f}" for name, each in contenders.items())
    told = [
        f"answers a second over Tor, {CLIENTS} clients at once, a circuit for each request: {fast}",
        f"ms of a processor for each of these, all tors and the server: {dear}",
    ]
    if crowd.failed:
        told.append(f"{crowd.failed} requests of all these had no answer")
    return Measured(rows, told)


if __name__ == "__main__":
    alone(measure, private_network)
