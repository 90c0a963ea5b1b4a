"""What a fetch and a store cost as the store grows from 100 buckets to 100,000, in SQLite and in PostgreSQL.

The cost is the time from one answer to the next, the best of three short looks in a round: what else goes on, on the
machine and its disk, only adds to it. Fetches are of buckets that are not in memory, over 16 connections; stores come
over as many, and one by one. What answers take of processors is told: of the server, and of all of PostgreSQL, but
without computing buckets' links, which knows nothing of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from contender import Rendezvous
from filled import FEW, MANY, make_postgres, make_sqlite, postgres_for_stores
from harness import exact_seconds, in_turn, newest_thread, ratios, server, thread_seconds
from load import new_exchanges, run
from rows import Curve, Measured, Row, alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postgres_server import PostgresServer

LOOKS = 3
SIZES = (FEW, 10_000, MANY)
AT_MOST = 1.15

REQUESTS = {"fetch": ("fetch", 16), "store": ("store", 16), "store that comes alone": ("store", 1)}
"""What is asked, over how many connections."""


class Grown:
    """A server with a store of its own, in SQLite where no PostgreSQL is named."""

    def __init__(self, directory: Path, postgres: PostgresServer | None) -> None:
        self._rendezvous = Rendezvous(directory)
        self._postgres = postgres
        self._links: Sequence[bytes] = ()
        self._process = self._linking = 0
        self.processor: list[float] = []
        """Microseconds of processors that an answer took, each time that it was asked."""

    @contextlib.contextmanager
    def running(self, size: int) -> Iterator[None]:
        """Put so many buckets into the store, and run the server while the block runs."""
        where = []
        if self._postgres is None:
            self._links = make_sqlite(self._rendezvous.directory, size)
        else:
            database = asyncio.run(self._postgres.make_database())
            self._links = asyncio.run(make_postgres(database, size))
            where = ["--database", database]
        with server(*self._rendezvous.command("--cached-buckets", "0", *where)) as self._process:
            self._rendezvous.fill()
            self._rendezvous.settle()
            self._linking = newest_thread(self._process)  # a server starts it for its first bucket
            yield

    def cost(self, kind: str, connections: int, seconds: float) -> float:
        """Ask for so long; gives the milliseconds from one answer to the next."""
        before = self._used()
        exchanges = new_exchanges(kind, connections, self._links)
        asked = run(str(self._rendezvous.socket), exchanges, seconds)
        self._rendezvous.settle()
        self.processor.append(1e6 * (self._used() - before) / asked["answered"])
        return 1000 * asked["seconds"] / asked["answered"]

    def _used(self) -> float:
        used = exact_seconds(self._process) - thread_seconds(self._process, self._linking)
        for process in [] if self._postgres is None else self._postgres.processes():
            with contextlib.suppress(OSError):  # of those that vacuum, one may have ended meanwhile
                used += exact_seconds(process)
        return used


class Measurement:
    """What came out."""

    def __init__(self, seconds: float, rounds: int) -> None:
        self._seconds = seconds
        self._rounds = rounds
        self.rows: list[Row] = []
        self.told: list[str] = []
        self.lines: dict[str, Sequence[tuple[float, float]]] = {}

    def take(self, kind: str, directory: Path, postgres: PostgresServer | None) -> None:
        """Measure one kind of store at all sizes."""
        with contextlib.ExitStack() as running:
            grown = {size: Grown(directory / f"{kind}-{size}", postgres) for size in SIZES}
            for size, one in grown.items():
                running.enter_context(one.running(size))
            for name, (request, connections) in REQUESTS.items():
                asking = {
                    str(size): partial(one.cost, request, connections, self._seconds) for size, one in grown.items()
                }
                costs = in_turn(asking, self._rounds * LOOKS)
                self._conclude(f"{name}, {kind}", costs)
                self._tell(f"{name}, {kind}", grown)

    def _conclude(self, what: str, costs: Mapping[str, Sequence[float]]) -> None:
        costs = {size: [min(looks) for looks in _split(figures)] for size, figures in costs.items()}
        beside_few = ratios(costs[str(MANY)], costs[str(FEW)])
        self.rows.append(Row(f"cost with {MANY:,} buckets / with {FEW}: {what}", beside_few, AT_MOST, "low"))
        self.lines[what] = [(int(size), statistics.median(figures)) for size, figures in costs.items()]

    def _tell(self, what: str, grown: Mapping[int, Grown]) -> None:
        answers = ", ".join(f"{1000 / cost:,.0f} with {size:,}" for size, cost in self.lines[what])
        used = ", ".join(f"{statistics.median(one.processor[-self._rounds * LOOKS :]):.0f}" for one in grown.values())
        self.told.append(f"{what}: answers a second: {answers} buckets; processor time of one, in µs: {used}")


def _split(figures: Sequence[float]) -> Iterator[Sequence[float]]:
    """Give the looks of each round."""
    return (figures[start : start + LOOKS] for start in range(0, len(figures), LOOKS))


def measure(seconds: float = 0.08, rounds: int = 5, directory: Path | None = None) -> Measured:
    """Measure everything here in a minute; takes 4 GB of disk meanwhile."""
    measurement = Measurement(seconds, rounds)
    with tempfile.TemporaryDirectory(dir=directory) as place:
        measurement.take("SQLite", Path(place), None)
        with postgres_for_stores(Path(place)) as postgres:
            measurement.take("PostgreSQL", Path(place), postgres)
    title = "What a request costs as the store grows"
    curve = Curve(
        "growth",
        title,
        "buckets in the store",
        "milliseconds for an answer",
        measurement.lines,
        logarithmic=True,
    )
    return Measured(measurement.rows, measurement.told, [curve])


if __name__ == "__main__":
    alone(measure)
