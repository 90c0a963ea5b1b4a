"""What a fetch and a store cost as the store grows from 100 buckets to 100,000, in SQLite and in PostgreSQL.

The cost is the time until the answer, in the middle of all that were asked for in a short look, and of the best of
five looks in a round: what else goes on, on the machine and its disk, only adds to it. Nothing but the store's size
differs: fetches, over 16 connections, are of the same 100 buckets of it again and again, and the server's own cache
of buckets is off. Stores come over as many, and one by one. What fetches of any of 1,000 buckets take, more than
SQLite's cache has room for, is told.
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
from filled import FEW, MANY, SAMPLE, make_postgres, make_sqlite, postgres_for_stores
from harness import in_turn, ratios, server
from load import new_exchanges, run
from rows import LEFT_OUT, Curve, Measured, Row, alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postgres_server import PostgresServer

LOOKS = 5
SIZES = (FEW, 10_000, MANY)
AT_MOST = 1.15

REQUESTS = {
    f"fetch of the same {FEW} buckets": ("fetch", 16),
    "store": ("store", 16),
    "store that comes alone": ("store", 1),
}
"""What is asked, over how many connections."""

_SPREAD = "of any of many"
_NOT_OF_ALL = (
    f"{LEFT_OUT}fetches of any of all {MANY:,} buckets: who asks is given the links of {SAMPLE:,}, and of more the"
    " file's pages would be what is measured, wherever the system keeps them"
)


class Grown:
    """A server with a store of its own, in SQLite where no PostgreSQL is named."""

    def __init__(self, directory: Path, postgres: PostgresServer | None) -> None:
        self._rendezvous = Rendezvous(directory)
        self._postgres = postgres
        self._links: Sequence[bytes] = ()

    def command(self, size: int) -> list[str | Path]:
        """Put so many buckets into the store; gives how to run the server."""
        where = []
        if self._postgres is None:
            self._links = make_sqlite(self._rendezvous.directory, size)
        else:
            database = asyncio.run(self._postgres.make_database())
            self._links = asyncio.run(make_postgres(database, size))
            where = ["--database", database]
        return self._rendezvous.command("--cached-buckets", "0", *where)

    def cost(self, kind: str, connections: int, seconds: float, different: int = FEW) -> float:
        """Ask for so long, for so many different buckets; gives the milliseconds until an answer."""
        exchanges = new_exchanges(kind, connections, self._links[:different])
        asked = run(str(self._rendezvous.socket), exchanges, seconds)
        self._rendezvous.settle()
        return asked["median_ms"]


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
                running.enter_context(server(*one.command(size)))
            for name, (request, connections) in REQUESTS.items():
                asking = {
                    str(size): partial(one.cost, request, connections, self._seconds) for size, one in grown.items()
                }
                if request == "fetch":
                    asking[_SPREAD] = partial(grown[MANY].cost, request, connections, self._seconds, SAMPLE)
                looks = in_turn(asking, self._rounds * LOOKS)
                best = {one: [min(of_round) for of_round in _split(figures)] for one, figures in looks.items()}
                self._conclude(f"{name}, {kind}", best)
                if _SPREAD in best:
                    more = statistics.median(ratios(best[_SPREAD], best[str(FEW)]))
                    self.told.append(
                        f"fetch of any of {SAMPLE:,} buckets out of {MANY:,}, {kind}: {more:.2f} times the cost"
                    )

    def _conclude(self, what: str, costs: Mapping[str, Sequence[float]]) -> None:
        few = costs[str(FEW)]
        name = f"cost with {MANY:,} buckets / with {FEW}: {what}"
        self.rows.append(Row(name, ratios(costs[str(MANY)], few), AT_MOST, "low"))
        self.lines[what] = [(size, statistics.median(costs[str(size)])) for size in SIZES]
        times = ", ".join(f"{cost:.2f} with {size:,}" for size, cost in self.lines[what])
        self.told.append(f"{what}: milliseconds until an answer: {times} buckets")


def _split(figures: Sequence[float]) -> Iterator[Sequence[float]]:
    """Give the looks of each round."""
    return (figures[start : start + LOOKS] for start in range(0, len(figures), LOOKS))


def measure(seconds: float = 0.05, rounds: int = 5, directory: Path | None = None) -> Measured:
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
        "milliseconds until an answer",
        measurement.lines,
        logarithmic=True,
    )
    return Measured(measurement.rows, [*measurement.told, _NOT_OF_ALL], [curve])


if __name__ == "__main__":
    alone(measure)
