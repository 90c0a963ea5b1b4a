"""The servers beside their peers: stores, fetches and messages a second on their Unix sockets.

Everything is measured in turn, in rounds, under the same load; each server is a process of its own, and idle while
another one is measured. What is stored in is stopped then, because it would go on to compute links.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contender import Rendezvous
from harness import (
    BENCH,
    family_seconds,
    group_commit,
    in_turn,
    load,
    loaded,
    messaging_load,
    ratios,
    said_by,
    server,
)
from peers import Peer, bare_handler, find_nginx, find_twist, mailbox_server, nginx_server
from rows import NOT_MEASURED, Curve, Measured, Row, alone

from onion_rdv.protocol import BUCKET_ENTRIES
from onion_rdv.rendezvous.rules import CEILING_SECONDS, DEFAULT_MAX_NEW_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FEW, MANY = 16, 256
CONNECTIONS = (1, 4, FEW, 64, MANY)
"""What the pictures show."""

STORES, FETCHES, MESSAGES = "stores", "fetches of a bucket in memory", "SMP messages"
FREE_STORES, FROM_FILE = "stores where a durable write costs nothing", "fetches of what is not in memory"
BARE = "a bare aiohttp handler"
MAILBOX = "magic-wormhole-mailbox-server's adds"
NGINX = "nginx, one worker, a file"
COMMITS = "a loop that commits as many at once"


class Thing(NamedTuple):
    """What is measured: its name, and how many connections (or entries in a group) it has."""

    name: str
    connections: int


class Beside(NamedTuple):
    """What is measured beside what, and the ratio to reach."""

    ours: Thing
    peer: str
    bound: float


ROWS = (
    Beside(Thing(STORES, FEW), MAILBOX, 10),
    Beside(Thing(STORES, MANY), MAILBOX, 10),
    Beside(Thing(STORES, FEW), BARE, 0.6),
    Beside(Thing(STORES, MANY), BARE, 0.6),
    Beside(Thing(STORES, FEW), COMMITS, 0.2),
    Beside(Thing(STORES, MANY), COMMITS, 0.08),  # so large a group costs the disk next to nothing
    Beside(Thing(FETCHES, FEW), BARE, 0.95),
    Beside(Thing(FETCHES, FEW), NGINX, 0.35),
    Beside(Thing(MESSAGES, FEW), MAILBOX, 2),
)
TOLD = (
    Beside(Thing(COMMITS, FEW), BARE, 0),  # what the file could do with groups of that size
    Beside(Thing(FREE_STORES, FEW), BARE, 0),
    Beside(Thing(FREE_STORES, MANY), BARE, 0),
    Beside(Thing(FROM_FILE, FEW), BARE, 0),
    Beside(Thing(FROM_FILE, FEW), NGINX, 0),
)
LINKS = 5
"""Links that a server computes in a second while nobody waits for one, about (onion_rdv/rendezvous/links.py)."""

MEMORY = Path("/dev/shm")  # noqa: S108  # what is put there has a directory of its own
"""A file system in memory, on Linux."""

PICTURES = {STORES: (STORES, BARE, MAILBOX), FETCHES: (FETCHES, BARE, NGINX)}


class Servers:
    """All servers that are measured, and how each is asked once."""

    def __init__(self, directory: Path) -> None:
        """Prepare to keep files in ``directory``."""
        self.told: list[str] = []
        """What could not be measured."""
        self.busy: dict[Thing, list[tuple[float, float]]] = {}
        """How much of the time a server was busy, and the process that asked it, each time."""
        self._directory = directory
        self._seconds = 0.0
        self._peers: dict[str, Peer] = {}
        self._links: dict[str, tuple[bytes, ...]] = {}
        self._stored_in: dict[str, Peer] = {}
        self._messaging = directory / "messaging"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run them."""
        with contextlib.ExitStack() as servers:
            self._peers[BARE] = servers.enter_context(bare_handler(self._directory))
            if twist := find_twist():
                self._peers[MAILBOX] = servers.enter_context(mailbox_server(twist, self._directory))
            else:
                self.told.append(f"{NOT_MEASURED}magic-wormhole-mailbox-server is not installed in .venv-bench")
            if nginx := find_nginx():
                self._peers[NGINX] = servers.enter_context(nginx_server(nginx, self._directory))
            else:
                self.told.append(f"{NOT_MEASURED}nginx is neither installed nor in .venv-bench")
            for name, options in ((FETCHES, ()), (FROM_FILE, ("--cached-buckets", "0"))):
                target = Rendezvous(self._directory / name)
                process = servers.enter_context(server(*target.command(*options)))
                target.fill()
                self._peers[name], self._links[name] = Peer(process, "fetch", target.socket), (target.link,)
            for name, place in ((STORES, self._directory), (FREE_STORES, MEMORY)):
                if place.is_dir():
                    within = servers.enter_context(tempfile.TemporaryDirectory(dir=place))
                    target = Rendezvous(Path(within) / "ours")
                    process = servers.enter_context(server(*target.command()))
                    servers.callback(os.kill, process, signal.SIGCONT)  # who is stopped cannot be ended
                    os.kill(process, signal.SIGSTOP)
                    self._stored_in[name] = Peer(process, "store", target.socket)
            self._messaging.mkdir()
            servers.enter_context(server(sys.executable, BENCH / "messaging_server.py", self._messaging))
            yield

    def measure(self, things: Sequence[Thing], seconds: float, rounds: int) -> dict[Thing, list[float]]:
        """Measure those that are there, in turn, each for some ``seconds`` a round; gives answers a second."""
        self._seconds = seconds
        asked = {thing: self._asking(thing) for thing in dict.fromkeys(things)}
        named = {str(thing): ask for thing, ask in asked.items() if ask}
        measured = in_turn(named, rounds)
        return {thing: measured[str(thing)] for thing in asked if str(thing) in named}

    def _asking(self, thing: Thing) -> Callable[[], float] | None:
        if peer := self._peers.get(thing.name):
            return partial(self._ask, thing, peer)
        if stored_in := self._stored_in.get(thing.name):
            return partial(self._store, stored_in, thing.connections)
        if thing.name == COMMITS:
            return partial(self._commit, thing.connections)
        if thing.name == MESSAGES:
            return partial(self._pass_on, thing.connections)
        return None

    def _ask(self, thing: Thing, peer: Peer) -> float:
        links = self._links.get(thing.name, ())
        before = family_seconds(peer.process)
        done = loaded(peer.kind, peer.address, seconds=self._seconds, connections=thing.connections, links=links)
        busy = (family_seconds(peer.process) - before) / self._seconds
        self.busy.setdefault(thing, []).append((busy, done.busy))
        return done.rate

    def _store(self, peer: Peer, connections: int) -> float:
        os.kill(peer.process, signal.SIGCONT)
        try:
            return load(peer.kind, peer.address, seconds=self._seconds, connections=connections)
        finally:
            os.kill(peer.process, signal.SIGSTOP)

    def _commit(self, group: int) -> float:
        with tempfile.TemporaryDirectory(dir=self._directory) as place:
            return group_commit(Path(place), seconds=self._seconds, group=group)

    def _pass_on(self, connections: int) -> float:
        return messaging_load(self._messaging, seconds=self._seconds, connections=connections)


def conclude(measured: Mapping[Thing, Sequence[float]]) -> tuple[list[Row], list[str]]:
    """Give the rows, and what else there is to say."""

    def beside(one: Beside) -> list[float]:
        figures = measured.get(one.ours), measured.get(Thing(one.peer, one.ours.connections))
        return [] if figures[0] is None or figures[1] is None else ratios(figures[0], figures[1])

    rows = [
        Row(f"{one.ours.name} / {one.peer}: {one.ours.connections} connections", beside(one), one.bound, "high")
        for one in ROWS
    ]
    told = [
        f"{one.ours.name} / {one.peer}, {one.ours.connections} connections: {statistics.median(figures):.2f}"
        for one in TOLD
        if (figures := beside(one))
    ]
    told += [
        f"{thing.name}, {thing.connections}: {statistics.median(figures):,.0f} a second"
        for thing, figures in measured.items()
    ]
    return rows, told


def say_left_out(measured: Mapping[Thing, Sequence[float]]) -> Iterator[str]:
    """Say what stores do not have to wait for, and what of it a server as it is shipped would not do."""
    for thing, figures in measured.items():
        if thing == Thing(STORES, FEW):
            opened = statistics.median(figures) / BUCKET_ENTRIES
            left = max(0.0, 1 - LINKS / opened)
            yield (
                f"stores, {thing.connections}: {opened:.0f} buckets a second are opened, and some {LINKS} get their"
                f" links, with rests between them: {left:.0%} of that Argon2id is left for later"
            )
            shipped = DEFAULT_MAX_NEW_BUCKETS * BUCKET_ENTRIES / CEILING_SECONDS
            yield f"stores: here without the ceiling, which as shipped ends them at {shipped:.0f} a second"


def say_busy(busy: Mapping[Thing, Sequence[tuple[float, float]]]) -> Iterator[str]:
    """Say what was measured: a server that is busy all the time, or else the process that asks it."""
    for thing, shares in busy.items():
        if thing.name in {FETCHES, BARE, NGINX} and thing.connections == FEW:
            ours, asking = (statistics.median(each) for each in zip(*shares, strict=True))
            yield f"busy while this was measured: {thing.name} {ours:.0%} of the time, who asked {asking:.0%}"


def curves(measured: Mapping[Thing, Sequence[float]]) -> Iterator[Curve]:
    """Draw how many a second there are with more connections."""
    for what, names in PICTURES.items():
        lines = {
            "onion-rdv" if name == what else name: [
                (connections, statistics.median(measured[thing]))
                for connections in CONNECTIONS
                if (thing := Thing(name, connections)) in measured
            ]
            for name in names
        }
        lines = {name: line for name, line in lines.items() if line}
        title = f"{what.capitalize()} a second"
        name = f"{what.partition(' ')[0]}-a-second"
        yield Curve(name, title, "connections", "a second", lines, logarithmic=True)


def file_system(directory: Path) -> str:
    """Name the kind of file system, because a durable write to memory costs nothing."""
    return said_by("findmnt", "-no", "FSTYPE", "-T", str(directory)) or "an unknown file system"


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


def measure(seconds: float = 0.6, rounds: int = 5, directory: Path | None = None) -> Measured:
    """Measure everything here in a minute and a quarter; gives rows, pictures, and what else there is to say."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        where = f"the store is on {file_system(Path(place))}, where one durable write takes {sync_time(Path(place))}"
        beside = [thing for one in (*ROWS, *TOLD) for thing in (one.ours, Thing(one.peer, one.ours.connections))]
        drawn = [Thing(name, count) for names in PICTURES.values() for name in names for count in CONNECTIONS]
        servers = Servers(Path(place))
        with servers.running():
            measured = servers.measure(beside, seconds, rounds)
            more = servers.measure([thing for thing in drawn if thing not in measured], seconds / 2, 2)
    rows, told = conclude(measured)
    told = [*say_left_out(measured), *say_busy(servers.busy), *told]
    return Measured(rows, [where, *servers.told, *told], list(curves(measured | more)))


if __name__ == "__main__":
    alone(measure)
