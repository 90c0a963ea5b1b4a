"""The servers beside their peers: stores, fetches and messages a second on their Unix sockets.

Everything is measured in turn, in rounds, under the same load; each server is a process of its own, and idle while
another one is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from contender import Rendezvous
from harness import BENCH, in_turn, load, messaging_load, server
from rows import Measured, Row, show

CONNECTIONS = 16
STORES_BESIDE_MAILBOX = 5
FETCHES_BESIDE_BARE = 0.8
MESSAGES_BESIDE_MAILBOX = 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_twist() -> str | None:
    """Find the program that runs the mailbox server, here or in an environment of its own."""
    places = [BENCH.parent / ".venv-bench" / "bin" / "twist", Path(sys.executable).parent / "twist"]
    candidates = [str(place) for place in places if place.exists()] + [shutil.which("twist") or ""]
    return next((twist for twist in candidates if twist and "wormhole-mailbox" in said_by(twist, "--help")), None)


def said_by(*command: str) -> str:
    """Give what a command prints, whether or not it is content."""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


class Measurement:
    """Servers that are measured in turn, and what came out."""

    def __init__(self, seconds: float, rounds: int) -> None:
        self.seconds = seconds
        self.rounds = rounds
        self.rows: list[Row] = []
        self.told: list[str] = []
        """What is worth knowing and has no bound, and what could not be measured."""

    def run(self, directory: Path) -> None:
        """Measure it all, with the files in ``directory``."""
        self.told.append(
            f"the store is on {file_system(directory)}, where one durable write takes {sync_time(directory)}"
        )
        with contextlib.ExitStack() as servers:
            ours, uncached = Rendezvous(directory / "ours"), Rendezvous(directory / "uncached")
            servers.enter_context(server(*ours.command()))
            servers.enter_context(server(*uncached.command("--cached-buckets", "0")))
            bare = directory / "bare"
            servers.enter_context(server(sys.executable, BENCH / "bare.py", bare))
            messaging = directory / "messaging"
            messaging.mkdir()
            servers.enter_context(server(sys.executable, BENCH / "messaging_server.py", messaging))
            contenders = {
                "message": partial(messaging_load, messaging, seconds=self.seconds, connections=CONNECTIONS),
                "store": partial(self._stores, ours),
                "fetch": partial(self._fetches, ours),
                "fetch from the file": partial(self._fetches, uncached),
                "bare": partial(self._load, "fetch", bare),
            }
            if twist := find_twist():
                port = free_port()
                servers.enter_context(server(*mailbox(twist, port, directory), ready=partial(answers, port)))
                contenders["mailbox"] = partial(self._load, "mailbox", port)
            else:
                self.told.append("not measured: magic-wormhole-mailbox-server is not installed in .venv-bench")
            if importlib.util.find_spec("uvloop"):
                on_uvloop = Rendezvous(directory / "uvloop")
                servers.enter_context(server(*on_uvloop.command("--uvloop")))
                contenders["store on uvloop"] = partial(self._stores, on_uvloop)
                contenders["fetch on uvloop"] = partial(self._fetches, on_uvloop)
            measured = in_turn(contenders, self.rounds)
        self._conclude(measured)

    def _load(self, kind: str, address: Path | int, *links: bytes) -> float:
        return load(kind, address, seconds=self.seconds, connections=CONNECTIONS, links=links)

    def _stores(self, target: Rendezvous) -> float:
        stores = self._load("store", target.socket)
        target.settle()
        return stores

    def _fetches(self, target: Rendezvous) -> float:
        if not target.link:
            target.fill()
        return self._load("fetch", target.socket, target.link)

    def _conclude(self, measured: dict[str, list[float]]) -> None:
        def ratios(ours: str, beside: str) -> list[float]:
            return [a / b for a, b in zip(measured[ours], measured[beside], strict=True)]

        if "mailbox" in measured:
            name = f"stores, {CONNECTIONS} connections / magic-wormhole-mailbox-server's adds"
            self.rows.append(Row(name, ratios("store", "mailbox"), STORES_BESIDE_MAILBOX, "high"))
            name = f"SMP messages sent and received, {CONNECTIONS} connections / the same server's adds"
            self.rows.append(Row(name, ratios("message", "mailbox"), MESSAGES_BESIDE_MAILBOX, "high"))
        name = f"fetches, {CONNECTIONS} connections / a bare aiohttp handler, 16 KiB"
        self.rows.append(Row(name, ratios("fetch", "bare"), FETCHES_BESIDE_BARE, "high"))
        for ours, beside in (
            ("store", "bare"),
            ("fetch from the file", "bare"),
            ("store on uvloop", "store"),
            ("fetch on uvloop", "fetch"),
        ):
            if ours in measured:
                self.told.append(f"{ours} / {beside}: {statistics.median(ratios(ours, beside)):.2f}")
        self.told += [f"{name}: {statistics.median(figures):,.0f} a second" for name, figures in measured.items()]


def mailbox(twist: str, port: int, directory: Path) -> list[str]:
    """Give the command for the mailbox server, with its own SQLite in a file and without its log of requests."""
    command = [twist, "--log-file", "/dev/null", "wormhole-mailbox", "--port", f"tcp:{port}:interface=127.0.0.1"]
    return [*command, "--channel-db", str(directory / "mailbox.sqlite"), "--blur-usage", "3600"]


def file_system(directory: Path) -> str:
    """Name the kind of file system, because a durable write to memory costs nothing."""
    return said_by("stat", "-f", "-c", "%T", str(directory)) or "an unknown file system"


def sync_time(directory: Path) -> str:
    """Measure how long it takes until a few pages that are appended to a file have reached the disk."""
    times = []
    with (directory / "sync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(os.urandom(20_000))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return f"{statistics.median(times) * 1000:.2f} ms"


def measure(seconds: float = 1.0, rounds: int = 7, directory: Path | None = None) -> Measured:
    """Measure everything here in less than two minutes; gives rows, and what else there is to say."""
    measurement = Measurement(seconds, rounds)
    with tempfile.TemporaryDirectory(dir=directory) as place:
        measurement.run(Path(place))
    return Measured(measurement.rows, measurement.told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each server is asked in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, help="where the stores are kept meanwhile, on a disk of interest")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = measure(options.seconds, options.rounds, options.directory)
    if options.json:
        print(json.dumps({"rows": [row.as_json() for row in measured.rows], "told": measured.told}))
    else:
        show(measured.rows)
        print(*measured.told, sep="\n")
    sys.exit(not all(row.holds for row in measured.rows))


if __name__ == "__main__":
    main()
