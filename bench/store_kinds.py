"""The two kinds of store: SQLite with its one server, PostgreSQL with one and two, and both with many buckets.

A store in SQLite is one process by design: it owns the file. PostgreSQL is one of the tests' own, from Debian's
package, on the same disk and the same cores as everything else here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from contender import Rendezvous
from harness import BENCH, in_turn, load, server
from rendezvous import ONION_KEY
from rows import Measured, Row, end

from onion_rdv.protocol import BUCKET_ENTRIES
from onion_rdv.rendezvous.opening import STORE_FILE, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

sys.path.append(str(BENCH.parent / "tests" / "support"))

from postgres_server import PostgresServer  # what the tests start, too

CONNECTIONS = 16
FEW, SIZES = 100, (100, 10_000, 100_000)
COST_BESIDE_FEW = 1.2
STORES_BY_TWO, FETCHES_BY_TWO = 0.5, 1.0
"""What two servers on one database take beside one: they fill one bucket in turn, and fetch each for itself."""

SAMPLE = 1_000
"""Links that are fetched, out of all that there are: more than are kept in memory."""

_FILL_SQLITE = """
PRAGMA synchronous = OFF;
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
INSERT INTO bucket (key, created_at, number, link)
SELECT n, unixepoch() - n / 16, n % 16, randomblob(16) FROM numbers;
INSERT INTO content SELECT key, randomblob(16384) FROM bucket;
"""

_FILL_POSTGRES = """
SET search_path = onion_rdv; SET synchronous_commit = off;
INSERT INTO bucket (created_at, number, link)
SELECT extract(epoch FROM now())::bigint - n / 16, n % 16, decode(md5(random()::text || n), 'hex')
FROM generate_series(1, {count}) AS n;
INSERT INTO content SELECT key, decode(repeat(md5(key::text), 1024), 'hex') FROM bucket;
"""


def fill_sqlite(directory: Path, count: int) -> list[bytes]:
    """Put so many buckets into a store that is made; gives some of their links."""
    asyncio.run(_make(None, directory))
    with contextlib.closing(sqlite3.connect(directory / STORE_FILE)) as sql:
        sql.executescript(_FILL_SQLITE.format(count=count))
        sql.commit()
        return [link for (link,) in sql.execute("SELECT link FROM bucket ORDER BY random() LIMIT ?", (SAMPLE,))]


async def fill_postgres(url: str, count: int) -> list[bytes]:
    """Do the same in a database."""
    await _make(url, Path())
    connection = await asyncpg.connect(url)
    await connection.execute(_FILL_POSTGRES.format(count=count))
    await connection.execute("VACUUM ANALYZE onion_rdv.bucket, onion_rdv.content")
    await connection.execute("CHECKPOINT")
    rows = await connection.fetch("SELECT link FROM onion_rdv.bucket ORDER BY random() LIMIT $1", SAMPLE)
    await connection.close()
    return [row["link"] for row in rows]


async def _make(database: str | None, directory: Path) -> None:
    await (await open_store(database, directory, ONION_KEY)).close()


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
            ratios = [a / b for a, b in zip(both, single, strict=True)]
            self.rows.append(Row(f"{kind} with two servers on PostgreSQL / with one", ratios, bound, "high"))
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
        ask = partial(load, kind, seconds=self.seconds, connections=CONNECTIONS, links=links)
        with ThreadPoolExecutor(len(group)) as threads:
            answered = sum(threads.map(ask, (one.socket for one in group)))
        for one in group:
            one.settle()
        return answered

    def sizes(self) -> None:
        """Measure fetches of buckets that are not in memory, with few and with many in the store."""
        for kind in ("SQLite", "PostgreSQL"):
            with contextlib.ExitStack() as running:
                contenders = dict(self._filled(kind, running))
                measured = in_turn(contenders, self.rounds)
            self._conclude(kind, measured)

    def _filled(self, kind: str, running: contextlib.ExitStack) -> Iterator[tuple[str, Callable[[], float]]]:
        for size in SIZES:
            one = Rendezvous(self.directory / f"{kind}-{size}")
            options = ["--cached-buckets", "0"]
            if kind == "SQLite":
                links = fill_sqlite(one.directory, size)
            else:
                database = asyncio.run(self.postgres.make_database())
                links = asyncio.run(fill_postgres(database, size))
                options += ["--database", database]
            running.enter_context(server(*one.command(*options)))
            yield f"{size:,}", partial(self._load, "fetch", [one], links)

    def _conclude(self, kind: str, measured: Mapping[str, Sequence[float]]) -> None:
        few = measured[f"{FEW:,}"]
        for size, rates in measured.items():
            if rates is not few:
                name = f"cost of a fetch from {kind}, {size} buckets / {FEW:,}"
                ratios = [a / b for a, b in zip(few, rates, strict=True)]
                self.rows.append(Row(name, ratios, COST_BESIDE_FEW, "low"))
            self.told.append(f"fetches from {kind}, {size} buckets: {statistics.median(rates):,.0f} a second")


def measure(seconds: float = 1.0, rounds: int = 7, directory: Path | None = None) -> Measured:
    """Measure everything here; gives rows, and what else there is to say. Takes 4 GB of disk meanwhile."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        Path(place).chmod(0o755)  # PostgreSQL is another user's
        postgres = PostgresServer(Path(place), shared_buffers="256MB", max_wal_size="4GB")
        try:
            postgres.start()
            measurement = Measurement(Path(place), postgres, seconds, rounds)
            measurement.rates()
            measurement.sizes()
        finally:
            postgres.remove()
    return Measured(measurement.rows, measurement.told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each server is asked in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, help="where the stores are kept meanwhile, on a disk of interest")
    options = parser.parse_args()
    end(measure(options.seconds, options.rounds, options.directory))


if __name__ == "__main__":
    main()
