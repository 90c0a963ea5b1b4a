"""What one introduction costs the tor of an onion service: measured on a private network, all of it on this machine.

How many clients are served a second says little where client, relays and service share the processors; what the
service's tor uses of a processor for each of them says how many one such tor can serve. Its main thread does all of
that, so a second of that thread is the limit, however many processors there are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import processor_seconds
from network import private_network, published

from onion_rdv.errors import RdvError
from onion_rdv.protocol.exchange import REPLY_SIZE, REQUEST_BODY_SIZE
from onion_rdv.tor.control import connect
from onion_rdv.tor.socks import SocksPort, open_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from network import Network

CLIENTS = 32
FAILURES = (RdvError, TimeoutError, asyncio.IncompleteReadError, ConnectionError)
"""What comes of a fetch over Tor that does not go well."""

_TIMEOUT = 30.0
_REQUEST = os.urandom(REQUEST_BODY_SIZE)


@dataclass(frozen=True)
class Cost:
    """What was measured; ``served`` clients, each over a circuit of its own."""

    served: int
    failed: int
    seconds: float
    main_thread_seconds: float
    other_threads_seconds: float

    @property
    def main_thread_ms(self) -> float:
        """Milliseconds of the main thread for one client."""
        return 1000 * self.main_thread_seconds / self.served

    @property
    def most_a_second(self) -> float:
        """How many clients a second keep the main thread busy."""
        return self.served / self.main_thread_seconds


@asynccontextmanager
async def answering(path: Path) -> AsyncIterator[None]:
    """Answer as a rendezvous server does, as far as tor can see: a reply of the same size."""
    reply = bytes(REPLY_SIZE)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(REQUEST_BODY_SIZE)
            writer.write(reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_unix_server(respond, path):
        yield


async def fetch(socks: SocksPort, address: str, request: bytes = _REQUEST, size: int = REPLY_SIZE) -> bytes:
    """Be served once, over a circuit that nobody else uses; gives the reply, which has ``size`` bytes."""
    reader, writer = await open_stream(socks, address, 80, timeout=_TIMEOUT)
    try:
        writer.write(request)
        async with asyncio.timeout(_TIMEOUT):
            return await reader.readexactly(size)
    finally:
        writer.close()


async def load(socks: SocksPort, address: str, until: float) -> tuple[int, int]:
    """Be served again and again; gives how often that went well, and how often it did not."""
    served = failed = 0
    while time.monotonic() < until:
        try:
            await fetch(socks, address)
        except FAILURES:
            failed += 1
        else:
            served += 1
    return served, failed


async def measure_on(network: Network, address: str, path: Path, seconds: float) -> Cost:
    socks = SocksPort.parse(network.client_socks)
    async with answering(path), await connect(network.service_control) as control:
        tor = int(await control.info("process/pid"))
        await load(socks, address, time.monotonic() + 3)  # the client has the descriptor after that
        main, others = processor_seconds(tor)
        started = time.monotonic()
        done = await asyncio.gather(*(load(socks, address, started + seconds) for _ in range(CLIENTS)))
        took = time.monotonic() - started
        main_after, others_after = processor_seconds(tor)
    return Cost(
        sum(served for served, _ in done),
        sum(failed for _, failed in done),
        took,
        main_after - main,
        others_after - others,
    )


def measure(seconds: float = 20.0) -> Cost:
    """Measure in less than a minute."""
    with tempfile.TemporaryDirectory() as directory, private_network() as network:
        path = Path(directory) / "socket"
        with published(network, path) as address:
            return asyncio.run(measure_on(network, address, path, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    cost = measure(parser.parse_args().seconds)
    print(json.dumps(asdict(cost)))
    print(
        f"{cost.main_thread_ms:.2f} ms of tor's main thread for a client: at most {cost.most_a_second:.0f} a second"
    )


if __name__ == "__main__":
    main()
