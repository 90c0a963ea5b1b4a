"""The two kinds of store: SQLite with its one server, and PostgreSQL with one and two.

A store in SQLite is one process by design: it owns the file. PostgreSQL is one of the tests' own, from Debian's
package, on the same disk and the same cores as everything else here. All that ask share one core, whomever they ask,
and have as many connections together.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from contender import Rendezvous
from filled import postgres_for_stores
from harness import in_turn, load, ratios, server
from rows import Measured, Row, alone

from onion_rdv.protocol import BUCKET_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postgres_server import PostgresServer

CONNECTIONS = 32
"""To all servers that are asked together."""
STORES_BY_TWO, FETCHES_BY_TWO = 0.5, 1.0
"""What two servers on one database take beside one: they fill one bucket in turn, and fetch each for itself."""


class Measurement:
    """What came out."""

    def __init__(self, directory: Path, postgres: PostgresServer, seconds: float, rounds: int) -> None:
        self.directory = directory
        self.postgres = postgres
        self.seconds = seconds
        self.rounds = rounds
        self.rows: list[Row] = []
        self.told: list[str] = []

    def rates(self) -> None:
        """Measure stores, and fetches of what is in memory, with one server and with two."""
        database = asyncio.run(self.postgres.make_database())
        servers = [Rendezvous(self.directory / name) for name in ("sqlite", "first", "second")]
        with contextlib.ExitStack() as running:
            running.enter_context(server(*servers[0].command()))
            for one in servers[1:]:
                running.enter_context(server(*one.command("--database", database)))
            groups = {
                "one server on SQLite": servers[:1],
                "one on PostgreSQL": servers[1:2],
                "two on PostgreSQL": servers[1:],
            }
            links = self._closed(servers[0]), self._closed(servers[1])
            written = asyncio.run(self._written(database))
            contenders: dict[str, Callable[[], float]] = {}
            for name, group in groups.items():
                contenders[f"stores, {name}"] = partial(self._load, "store", group)
                contenders[f"fetches, {name}"] = partial(self._load, "fetch", group, [links[len(contenders) > 1]])
            measured = in_turn(contenders, self.rounds)
        for kind, bound in (("stores", STORES_BY_TWO), ("fetches", FETCHES_BY_TWO)):
            both, single = (measured[f"{kind}, {count} on PostgreSQL"] for count in ("two", "one"))
            name = f"{kind} with two servers on PostgreSQL / with one"
            self.rows.append(Row(name, ratios(both, single), bound, "high"))
        self.told += [f"{name}: {statistics.median(figures):,.0f} a second" for name, figures in measured.items()]
        self.told.append(f"PostgreSQL: {written}")

    def _closed(self, one: Rendezvous) -> bytes:
        """Fill a bucket, so that it can be kept in memory; gives its link."""
        one.fill()
        for _ in range(BUCKET_ENTRIES):
            one.store()
        one.settle()
        return one.link

    async def _written(self, database: str) -> str:
        """Tell what the stores so far cost the disk: one by one, each in a transaction of its own."""
        connection = await asyncpg.connect(database)
        await connection.execute("CHECKPOINT")
        position = "SELECT pg_current_wal_insert_lsn() - '0/0'"
        before = await connection.fetchval(position)
        one = Rendezvous(self.directory / "first", exists=True)
        for _ in range(10 * BUCKET_ENTRIES):
            one.store()
        log = (await connection.fetchval(position) - before) / (10 * BUCKET_ENTRIES)
        await connection.close()
        return f"{log:,.0f} bytes of write-ahead log for each store that comes alone"

    def _load(self, kind: str, group: Sequence[Rendezvous], links: Sequence[bytes] = ()) -> float:
        ask = partial(load, kind, seconds=self.seconds, connections=CONNECTIONS // len(group), links=links)
        with ThreadPoolExecutor(len(group)) as threads:
            answered = sum(threads.map(ask, (one.socket for one in group)))
        for one in group:
            one.settle()
        return answered


def measure(seconds: float = 0.3, rounds: int = 5, directory: Path | None = None) -> Measured:
    """Measure everything here in half a minute; gives rows, and what else there is to say."""
    with tempfile.TemporaryDirectory(dir=directory) as place, postgres_for_stores(Path(place)) as postgres:
        measurement = Measurement(Path(place), postgres, seconds, rounds)
        measurement.rates()
    return Measured(measurement.rows, measurement.told)


if __name__ == "__main__":
    alone(measure)
