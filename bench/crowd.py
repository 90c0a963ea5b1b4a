"""Many clients at once over the private network, each request on a circuit of its own: our server beside a bare one.

Both are onion services of one tor, with the same settings. Nearly all of the work is done by the tors of client,
relays and service, which share this machine's processors; so the ratio says what the server adds to that.
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
from harness import BENCH, in_turn, server
from introductions import CLIENTS, FAILURES, fetch
from network import private_network, published, serving
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


@dataclass(frozen=True)
class Contender:
    """An onion service, what each client asks of it, and how a good reply begins."""

    address: str
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
    """The clients; they count those of their requests that failed."""

    def __init__(self, network: Network) -> None:
        self.failed = 0
        self._socks = SocksPort.parse(network.client_socks)

    def answers_a_second(self, contender: Contender, answers: int) -> float:
        """Have all of them ask one contender, again and again, until so many answers have come."""
        return asyncio.run(self._ask(contender, answers))

    async def _ask(self, contender: Contender, answers: int) -> float:
        times: list[float] = []

        async def client() -> None:
            while len(times) < answers:
                try:
                    await contender.ask(self._socks)
                except FAILURES:
                    self.failed += 1
                else:
                    times.append(time.perf_counter())

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return answers / (times[answers - 1] - begun)


@contextmanager
def _bare(network: Network, place: Path) -> Iterator[Contender]:
    path = place / "bare"
    with server(sys.executable, BENCH / "bare.py", path), published(network, path, proof_of_work=True) as address:
        yield Contender(address, FETCH_PATH, _random_body, "200", _reply_size(path))


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
    with serving(network, place, *map(str, options)) as (address, _):
        link = bucket_link(target.store(), decode_onion_address(address))
        target.settle()

        def fetch_of_it() -> bytes:
            return fetch_body(link, secrets.token_bytes(FETCH_PADDING_SIZE))

        yield Contender(address, FETCH_PATH, fetch_of_it, "200"), Contender(address, STORE_PATH, _random_body, "201")


def measure(network: Network, rounds: int = 4, answers: int = 64) -> Measured:
    """Measure everything here in some 35 seconds."""
    crowd = Crowd(network)
    with (
        tempfile.TemporaryDirectory() as place,
        _bare(network, Path(place)) as bare,
        _ours(network, Path(place)) as (fetches, stores),
    ):
        contenders = {"bare": bare, "fetches": fetches, "stores": stores}
        for contender in contenders.values():  # the client has the descriptor after that
            crowd.answers_a_second(contender, CLIENTS)
        crowd.failed = 0
        rates = in_turn(
            {name: partial(crowd.answers_a_second, each, answers) for name, each in contenders.items()}, rounds
        )
    rows = []
    for name in ("fetches", "stores"):
        ratios = [ours / bare for ours, bare in zip(rates[name], rates["bare"], strict=True)]
        rows.append(
            Row(f"{name} by {CLIENTS} clients at once over Tor / a bare onion service", ratios, AT_LEAST, "high")
        )
    told = [
        f"answers a second over Tor, {CLIENTS} clients at once, a circuit for each request: "
        + ", ".join(f"{name} {statistics.median(each):.1f}" for name, each in rates.items())
    ]
    if crowd.failed:
        told.append(f"{crowd.failed} requests of all these had no answer")
    return Measured(rows, told)


if __name__ == "__main__":
    alone(measure, private_network)
