"""Honest requests beside 2,000 connections that mean no good: how much longer they take, and the server's memory.

An honest client asks once on each connection, at set times, whether or not the last request was answered in time;
so a server that stands still for a while does not hide it. Requests alone are measured before the others come, since
it takes seconds until those are all there. The server's memory is looked at once for each kind.
"""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contender import Rendezvous
from harness import BENCH, memory, ratios, server
from rows import Measured, Row, alone

from onion_rdv.protocol.exchange import FETCH_PADDING_SIZE, FETCH_PATH, REPLY_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 2000
AT_MOST = 2.0
"""Times as long as without them, and as much memory."""

RATE = 1000
"""Requests a second that they make: as many as one tor brings, whose main thread is then busy (docs/scale-out.md)."""

EVERY = 0.02  # seconds from one honest request to the next
REST = 0.5  # seconds after clients have come, and after they have gone

KINDS = {
    "silent": ("silent",),
    "slow with heads and bodies": ("slow_head", "slow_body"),
    "malformed, heads of a megabyte": ("wrong",),
    "that take no reply": ("unread",),
    "with good requests, ten at once": ("hasty", "pipelined"),
}
UNBOUND = ("malformed, heads of a megabyte", "with good requests, ten at once")
"""What is also measured as fast as the server and two cores can; no tor brings so many."""


@contextlib.contextmanager
def misbehaving(path: Path, *kinds: str, rate: int = RATE) -> Iterator[None]:
    """Have clients of these kinds at work while the block runs; a rate of 0 is as fast as they can."""
    script = BENCH.parent / "tests" / "support" / "hostile_clients.py"  # what the tests start, too
    command = [sys.executable, str(script), str(path), *kinds, "--connections", str(CONNECTIONS), "--rate", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            time.sleep(1)
            yield
        finally:
            process.kill()


def ask(target: Rendezvous) -> None:
    """Fetch a bucket on a connection of its own."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(target.socket))
        head = f"POST {FETCH_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n"
        connection.sendall(head.encode() + target.link + bytes(FETCH_PADDING_SIZE))
        left = REPLY_SIZE
        while left:
            data = connection.recv(left)
            if not data:
                raise ConnectionError("an honest request was not answered")
            left -= len(data)


def latency(target: Rendezvous, seconds: float) -> float:
    """Give the milliseconds that an honest request takes, the median of all."""
    times = []
    begun = time.perf_counter()
    for number in range(int(seconds / EVERY)):
        due = begun + number * EVERY
        time.sleep(max(0.0, due - time.perf_counter()))
        ask(target)
        times.append(time.perf_counter() - due)
    return statistics.median(times) * 1000


def measure(seconds: float = 0.4, rounds: int = 5, directory: Path | None = None) -> Measured:
    """Measure everything here in half a minute; gives rows, and what else there is to say."""
    without: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    grown: list[float] = []
    told: list[str] = []
    with tempfile.TemporaryDirectory(dir=directory) as place:
        target = Rendezvous(Path(place) / "flooded")
        with server(*target.command()) as process:
            target.fill()
            latency(target, seconds)
            least = memory(process)
            for name in random.sample(list(KINDS), len(KINDS)):
                without[name] = [latency(target, seconds) for _ in range(rounds)]
                with misbehaving(target.socket, *KINDS[name]):
                    beside[name] = [latency(target, seconds) for _ in range(rounds)]
                    grown.append(memory(process))
                time.sleep(REST)
            for name in UNBOUND:
                with misbehaving(target.socket, *KINDS[name], rate=0):
                    beside_more = latency(target, seconds)
                told.append(f"a fetch beside {CONNECTIONS} {name}, without end: {beside_more:.0f} ms")
    rows = [
        Row(f"a fetch beside {CONNECTIONS} {name} / alone", ratios(beside[name], without[name]), AT_MOST, "low")
        for name in KINDS
    ]
    rows.append(Row("memory of the server beside any of them / alone", [max(grown) / least], AT_MOST, "low"))
    before = statistics.median(time for times in without.values() for time in times)
    told.append(f"a fetch alone: {before:.2f} ms; memory {least:.0f} MiB, at most {max(grown):.0f}")
    told += [f"a fetch beside {name}: {statistics.median(beside[name]):.2f} ms" for name in KINDS]
    return Measured(rows, told)


if __name__ == "__main__":
    alone(measure)
