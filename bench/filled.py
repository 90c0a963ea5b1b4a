"""Stores that have many buckets already, written straight into their tables: 100,000 in seconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from harness import BENCH
from rendezvous import ONION_KEY

from onion_rdv.protocol import BUCKET_SIZE
from onion_rdv.rendezvous.opening import STORE_FILE, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.append(str(BENCH.parent / "tests" / "support"))

from postgres_server import PostgresServer  # what the tests start, too

FEW, MANY = 100, 100_000

SAMPLE = 1_000
"""Links that are fetched, out of all that there are: more than are kept in memory."""

# All have the same random content: nobody looks at it, and it takes the room that any other would take. They were
# opened one after the other, sixteen in a second, and the last one just now.
_BUCKETS_SQLITE = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
INSERT INTO bucket (created_at, number, link)
SELECT unixepoch() - (?1 - n) / 16 - 1, n % 16, randomblob(16) FROM numbers
"""
_BUCKETS_POSTGRES = """
INSERT INTO onion_rdv.bucket (created_at, number, link)
SELECT extract(epoch FROM now())::bigint - ($1::int - n) / 16 - 1, n % 16, decode(md5(random()::text || n), 'hex')
FROM generate_series(1, $1::int) AS n
"""
_SAMPLE_POSTGRES = "SELECT link FROM onion_rdv.bucket ORDER BY random() LIMIT $1"


def make_sqlite(directory: Path, count: int) -> list[bytes]:
    """Make a store with so many buckets; gives some of their links."""
    asyncio.run(_make(None, directory))
    return fill_sqlite(directory / STORE_FILE, count)


def fill_sqlite(path: Path, count: int) -> list[bytes]:
    """Put so many buckets into the store in a file, which is empty and not open; gives some of their links."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as sql:
        for pragma in ("journal_mode = DELETE", "journal_mode = OFF", "synchronous = OFF"):
            sql.execute(f"PRAGMA {pragma}")
        sql.execute("BEGIN")
        sql.execute(_BUCKETS_SQLITE, (count,))
        sql.execute("INSERT INTO content SELECT key, ? FROM bucket", (os.urandom(BUCKET_SIZE),))
        sql.execute("COMMIT")
        links = [link for (link,) in sql.execute("SELECT link FROM bucket ORDER BY random() LIMIT ?", (SAMPLE,))]
    with path.open("rb") as file:
        os.fsync(file.fileno())  # or the disk would be busy with it later
    return links


@contextlib.contextmanager
def postgres_for_stores(directory: Path) -> Iterator[PostgresServer]:
    """Run a PostgreSQL with its data below ``directory`` while the block runs."""
    directory.chmod(0o755)  # PostgreSQL is another user's
    postgres = PostgresServer(directory, shared_buffers="256MB", max_wal_size="4GB")
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.remove()


async def make_postgres(url: str, count: int) -> list[bytes]:
    """Make a store with so many buckets in an empty database; gives some of their links."""
    await _make(url, Path())
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(_BUCKETS_POSTGRES, count)
        content = os.urandom(BUCKET_SIZE)
        await connection.execute("INSERT INTO onion_rdv.content SELECT key, $1 FROM onion_rdv.bucket", content)
        await connection.execute("VACUUM ANALYZE onion_rdv.bucket, onion_rdv.content")
        await connection.execute("CHECKPOINT")
        return [row["link"] for row in await connection.fetch(_SAMPLE_POSTGRES, SAMPLE)]
    finally:
        await connection.close()


async def _make(database: str | None, directory: Path) -> None:
    await (await open_store(database, directory, ONION_KEY)).close()
