"""How many machines a number of rendezvous a day needs: what one costs each part, measured here, and the arithmetic.

``docs/scale-out.md`` has a result. What each part uses of a processor is measured, which other work on the machine
changes little; how fast this machine happens to answer says less. Stores and fetches go through the web face one
after the other, each a transaction of its own, as they come where there is no crowd; together they cost less.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import introductions
from contender import Rendezvous
from harness import BENCH, family_seconds, load, processor_seconds, server

from onion_rdv.protocol import BUCKET_ENTRIES
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME, DEFAULT_MAX_NEW_BUCKETS

sys.path.append(str(BENCH.parent / "tests" / "support"))

from postgres_server import PostgresServer  # what the tests start, too

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 24 * 3600
GIB = 2**30

STORES, FETCHES = 1, 2
"""What one rendezvous is made of: the initiator stores, and looks whether others get the same; the acceptor fetches.
Each comes over a circuit of its own, with an introduction."""

PEAK = 3.0
"""How many times as many come in the busiest hour as on average."""

SHARE = 0.5
"""How much of what there is may be used in that hour: the rest is for a machine that fails, and for a bad day."""

TOR_LIMIT = 180.0
"""Introductions a second that one tor takes (tor proposal 327): less than what is measured here, where relays are
near and circuits short-lived, and so what the arithmetic goes by."""

INTRODUCTIONS_A_POINT = 24_576
"""After so many an introduction point ends, on average (tor's or.h, INTRO_POINT_MIN_LIFETIME_INTRODUCTIONS)."""

_BYTES_A_BUCKET = """
SELECT sum(pg_total_relation_size(name::regclass)) / (SELECT count(*) FROM onion_rdv.bucket)
FROM unnest(ARRAY['onion_rdv.bucket', 'onion_rdv.content']) AS name
"""


@dataclass(frozen=True)
class Costs:
    """What was measured, for one of each."""

    tor_introduction: float
    """Milliseconds of the main thread of a service's tor."""

    front_store: float
    """Milliseconds of a processor at the front end, bucket links included."""

    front_look: float
    """The same for a fetch of the open bucket."""

    front_fetch: float
    """The same for a fetch of a closed bucket that is not in memory."""

    database_store: float
    database_look: float
    database_fetch: float
    """The same in PostgreSQL."""

    bucket_bytes: float
    """On PostgreSQL's disk, for a bucket; without what is erased and not used again yet."""

    log_bytes: float
    """Of PostgreSQL's log (WAL), for a store."""


class StoreMeasurement:
    """A PostgreSQL and a front end, which keeps no buckets in memory: few are fetched often enough for that."""

    def __init__(self, postgres: PostgresServer, url: str, front_end: Rendezvous, process: int) -> None:
        self._database = int((postgres.directory / "data" / "postmaster.pid").read_text().split()[0])
        self._url = url
        self._front_end = front_end
        self._process = process

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[StoreMeasurement]:
        """Start everything, and stop it after the block."""
        with ExitStack() as ending:
            postgres = PostgresServer()
            ending.callback(postgres.remove)
            postgres.start()
            url = asyncio.run(postgres.make_database())
            front_end = Rendezvous(directory, exists=True)
            process = ending.enter_context(server(*front_end.command("--database", url, "--cached-buckets", "0")))
            yield cls(postgres, url, front_end, process)

    def measure(self, introduction: float, seconds: float) -> Costs:
        """Measure everything that has to do with the store."""
        self._front_end.fill()
        look = self._cost("fetch", seconds)
        log = self._log()
        store = self._cost("store", seconds)
        written = self._log() - log
        fetch = self._cost("fetch", seconds)  # of the same bucket, which has closed meanwhile
        self._ask("VACUUM FULL")  # what is erased is used again; how much of it there is depends on when one looks
        return Costs(
            introduction,
            *(store[0], look[0], fetch[0]),
            *(store[1], look[1], fetch[1]),
            float(self._ask(_BYTES_A_BUCKET)),
            written / store[2],
        )

    def _log(self) -> int:
        return int(self._ask("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"))

    def _ask(self, query: str) -> Any:
        async def asking() -> Any:
            connection = await asyncpg.connect(self._url)
            try:
                return await connection.fetchval(query)
            finally:
                await connection.close()

        return asyncio.run(asking())

    def _cost(self, kind: str, seconds: float) -> tuple[float, float, float]:
        """Ask the front end, one request at a time: milliseconds there and in PostgreSQL, and how many there were."""
        front_end = self._front_end
        at_front, at_database = sum(processor_seconds(self._process)), family_seconds(self._database)
        done = seconds * load(kind, front_end.socket, seconds=seconds, connections=1, links=[front_end.link])
        front_end.settle()  # links that had still to be computed belong to it
        at_front = sum(processor_seconds(self._process)) - at_front
        at_database = family_seconds(self._database) - at_database
        return 1000 * at_front / done, 1000 * at_database / done, done


def needed(costs: Costs, a_day: int) -> Iterator[tuple[str, str]]:
    """Do the arithmetic for so many rendezvous a day; gives what, and how much."""
    peak = PEAK * a_day / DAY
    requests = STORES + FETCHES
    yield "rendezvous a second, on average and at the peak", f"{a_day / DAY:.1f}, {peak:.0f}"
    yield "introductions a second at the peak", f"{requests * peak:.0f}"
    measured = 1000 / costs.tor_introduction
    limit = min(TOR_LIMIT, measured)
    yield "one tor takes, as measured here; as reckoned with", f"{measured:.0f}; {limit:.0f}"
    tors = requests * peak / (limit * SHARE)
    yield "tors for that", f"{tors:.1f}"
    points = requests * a_day / INTRODUCTIONS_A_POINT
    yield "introduction points that end in a day", f"{points:.0f}"
    front = (STORES * costs.front_store + costs.front_look + (FETCHES - 1) * costs.front_fetch) * peak / 1000
    yield "processors that front ends keep busy at the peak", f"{front:.2f}"
    database = (
        (STORES * costs.database_store + costs.database_look + (FETCHES - 1) * costs.database_fetch) * peak / 1000
    )
    yield "processors that PostgreSQL keeps busy at the peak", f"{database:.2f}"
    yield "backends, and one more", f"{math.ceil(max(tors, front / SHARE))} + 1"
    buckets = a_day * STORES / BUCKET_ENTRIES
    yield (
        "buckets a minute at the peak (ceiling: max_new_buckets)",
        (f"{60 * peak / BUCKET_ENTRIES:.0f} ({DEFAULT_MAX_NEW_BUCKETS})"),
    )
    kept = DEFAULT_LIFETIME / DAY
    yield "buckets that are kept", f"{buckets * kept:,.0f}"
    yield "disk for them", f"{buckets * kept * costs.bucket_bytes / GIB:.1f} GiB"
    yield "PostgreSQL's log in a day", f"{a_day * STORES * costs.log_bytes / GIB:.1f} GiB"


def show(costs: Costs, a_day: int) -> None:
    """Print what was measured, and what follows, as tables for the document."""
    print("| measured | |\n|---|---:|")
    for field in fields(costs):
        print(f"| {field.name} | {getattr(costs, field.name):,.2f} |")
    print(f"\n| for {a_day:,} rendezvous a day | |\n|---|---:|")
    for what, how_much in needed(costs, a_day):
        print(f"| {what} | {how_much} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--a-day", type=int, default=1_000_000, help="rendezvous")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each thing is measured")
    options = parser.parse_args()
    introduction = introductions.measure(2 * options.seconds).main_thread_ms
    with tempfile.TemporaryDirectory() as directory, StoreMeasurement.running(Path(directory)) as store:
        show(store.measure(introduction, options.seconds), options.a_day)


if __name__ == "__main__":
    main()
