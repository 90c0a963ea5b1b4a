"""The tables of a store in PostgreSQL, and their statements: one round trip each.

Whoever places entries takes the lock first (:func:`lock`), in a transaction. Its statements then see all that was
committed by those who had the lock before, since each sees what was committed when it began.

Each transaction that writes looks at the tables' version in a statement that it needs anyway: a newer server may have
migrated them while this one was running. From that look to its end, nobody migrates them (``postgres_setup.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_SIZE, ENTRY_SIZE, BucketId
from onion_rdv.rendezvous import postgres_setup
from onion_rdv.rendezvous.rules import CEILING_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onion_rdv.rendezvous.filling import FillingBucket
    from onion_rdv.rendezvous.postgres_connections import Connection
    from onion_rdv.rendezvous.rules import Ceiling

# The time ($1) is that of the database's own clock where it is NULL. It is looked at when the lock has been taken:
# who had it before may have opened a bucket meanwhile.
_LOCK = """
WITH filling AS MATERIALIZED (SELECT * FROM filling FOR UPDATE)
SELECT key, taken, mark, coalesce($1::float8, extract(epoch FROM clock_timestamp())::float8) AS now,
       (SELECT number FROM version) AS version
FROM filling
"""

_LOOK = """
SELECT coalesce($1::float8, extract(epoch FROM clock_timestamp())::float8) AS now,
       created_at AS opened, (SELECT min(created_at) FROM bucket) AS oldest, (SELECT number FROM version) AS version
FROM filling
"""

_READ = "SELECT * FROM found WHERE key = coalesce($2, (SELECT key FROM bucket WHERE link = $1))"

_UNLINKED = "SELECT key, created_at, number, link FROM bucket WHERE link IS NULL OR link = $1"

_NEXT_NUMBER = """
SELECT 1 + greatest(
           (SELECT coalesce(max(number), -1) FROM bucket WHERE created_at = $1),
           (SELECT CASE WHEN $1 <= erased_until THEN erased_number ELSE -1 END FROM owner)
       ) AS number,
       (SELECT count(*) FROM
           (SELECT FROM bucket WHERE created_at > $1 - $2::bigint AND created_at <= $1 LIMIT $3) AS lately
       ) AS lately
"""

_ADD_FULL = """
WITH added AS (INSERT INTO bucket (created_at, number) VALUES ($1, $2) RETURNING key),
     counted AS (UPDATE usage SET opened = opened + 1)
INSERT INTO content SELECT key, $3 FROM added RETURNING key
"""

_OPEN = """
WITH opened AS (INSERT INTO bucket (created_at, number) VALUES ($1, $2) RETURNING key),
     filled AS (INSERT INTO content SELECT key, $3 FROM opened),
     counted AS (UPDATE usage SET opened = usage.opened + 1)
UPDATE filling SET key = opened.key, created_at = $1, number = $2, taken = $4, mark = $5
FROM opened RETURNING opened.key
"""

_PLACE = """
WITH added AS (INSERT INTO placed SELECT $1, * FROM unnest($2::smallint[], $3::bytea[]))
UPDATE filling SET taken = $4, mark = $5
"""

_CLOSE = """
WITH merged AS (UPDATE content SET entries = $2 WHERE key = $1),
     cleared AS (DELETE FROM placed WHERE key = $1)
UPDATE filling SET key = NULL, created_at = NULL, number = NULL, taken = '\\x0000000000000000', mark = 0
"""

_SET_LINK = "UPDATE bucket SET link = $2 WHERE key = $1 AND link IS NULL AND (SELECT number FROM version) = $3"

_ADD_USAGE = """
UPDATE usage SET opened = opened + $1, stored = stored + $2, fetched = fetched + $3
WHERE (SELECT number FROM version) = $4
"""

# Several servers may do this at once: each takes other buckets.
_ERASE = """
WITH old AS (
         SELECT key, created_at, number FROM bucket
         WHERE created_at <= $1 AND NOT EXISTS (SELECT FROM filling WHERE filling.key = bucket.key)
         AND (SELECT number FROM version) = $3
         ORDER BY created_at LIMIT $2 FOR UPDATE OF bucket SKIP LOCKED
     ),
     contents AS (DELETE FROM content USING old WHERE content.key = old.key),
     buckets AS (DELETE FROM bucket USING old WHERE bucket.key = old.key)
UPDATE owner SET erased_until = greatest(erased_until, last.created_at),
                 erased_number = greatest(erased_number, last.number)
FROM (SELECT count(*), max(created_at) AS created_at, max(number) AS number FROM old) AS last
RETURNING last.count
"""

_TOTALS = """
SELECT (SELECT count(*) FROM bucket) AS buckets, (key IS NOT NULL)::int AS open,
       (SELECT min(created_at) FROM bucket) AS oldest,
       (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r') AS size,
       opened, stored, fetched
FROM filling, usage
"""


@dataclass(frozen=True, slots=True)
class Locked:
    """The open bucket, if there is one, as it is while we have the lock.

    ``mark`` is another one after each change; ``now`` is the time, in Unix seconds.
    """

    key: int | None
    taken: bytes
    mark: int
    now: float


@dataclass(frozen=True, slots=True)
class FoundBucket:
    """A bucket, and whether it was open when it was read."""

    key: int
    bucket_id: BucketId
    content: bytes
    is_open: bool


async def lock(connection: Connection, now: float | None) -> Locked:
    """Wait until nobody else places entries, and have it so until the end of the transaction."""
    row = await connection.fetchrow(_LOCK, now)
    if row is None:
        raise damaged()
    check_version(row)
    return Locked(row["key"], row["taken"], row["mark"], row["now"])


async def look(connection: Connection, now: float | None) -> tuple[float, int | None, int | None]:
    """Give the time, and the seconds in which the open bucket and the oldest one were opened."""
    row = await connection.fetchrow(_LOOK, now)
    if row is None:
        raise damaged()
    check_version(row)
    return row["now"], row["opened"], row["oldest"]


async def read(connection: Connection, *, link: bytes | None = None, key: int | None = None) -> FoundBucket | None:
    """Give the bucket with this key, or else with this link."""
    row = await connection.fetchrow(_READ, link, key)
    return None if row is None else found_bucket(row)


async def unlinked(connection: Connection, link: bytes | None) -> list[tuple[int, BucketId | None]]:
    """List the buckets without a link, with their keys; one that has ``link`` by now comes without its id."""
    return [
        (row["key"], BucketId(row["created_at"], row["number"]) if row["link"] is None else None)
        for row in await connection.fetch(_UNLINKED, link)
    ]


async def next_number(connection: Connection, created_at: int, ceiling: Ceiling) -> int:
    """Give a number that no bucket of this second ever had; who calls has the lock.

    Raises :class:`~onion_rdv.errors.TooManyBuckets`.
    """
    row = await connection.fetchrow(_NEXT_NUMBER, created_at, CEILING_SECONDS, ceiling.a_minute)
    number: int = row["number"]
    ceiling.check(number, row["lately"])
    return number


async def add(connection: Connection, filling: FillingBucket, mark: int) -> int:
    """Write a new bucket, which is open if it has room; gives its key. Who calls has the lock, and none is open."""
    bucket_id = filling.bucket_id
    arguments: list[Any] = [bucket_id.created_at, bucket_id.number, filling.content()]
    if filling.room:
        key = await connection.fetchval(_OPEN, *arguments, filling.taken, mark)
    else:
        key = await connection.fetchval(_ADD_FULL, *arguments)
    return int(key)


async def put(connection: Connection, filling: FillingBucket, entries: dict[int, bytes], mark: int) -> None:
    """Write entries by their places into the open bucket; who calls has the lock."""
    await connection.execute(_PLACE, filling.key, list(entries), list(entries.values()), filling.taken, mark)


async def close(connection: Connection, filling: FillingBucket) -> None:
    """Close the open bucket with its last content, and forget which places were taken; who calls has the lock."""
    await connection.execute(_CLOSE, filling.key, filling.content())


async def set_link(connection: Connection, key: int, link: bytes) -> None:
    """Let a bucket be found under its link."""
    await connection.execute(_SET_LINK, key, link, postgres_setup.SCHEMA_VERSION)


async def add_usage(connection: Connection, stored: int, fetched: int, *, opened: int = 0) -> None:
    """Add to the totals; buckets are counted as they are opened."""
    await connection.execute(_ADD_USAGE, opened, stored, fetched, postgres_setup.SCHEMA_VERSION)


async def erase(connection: Connection, until: float, limit: int) -> int:
    """Erase the oldest buckets, at most ``limit``, that were opened in second ``until`` or earlier; give how many."""
    return int(await connection.fetchval(_ERASE, int(until // 1), limit, postgres_setup.SCHEMA_VERSION))


async def totals(connection: Connection) -> dict[str, Any]:
    """Give the fields of :class:`~onion_rdv.rendezvous.store.Totals` as they are in the database."""
    return dict(await connection.fetchrow(_TOTALS))


def found_bucket(row: Mapping[str, Any]) -> FoundBucket:
    """Make a bucket out of a row of the view of that name."""
    content = bytearray(row["entries"])
    for place, entry in zip(row["places"], row["placed"], strict=True):
        content[place * ENTRY_SIZE : (place + 1) * ENTRY_SIZE] = entry
    if len(content) != BUCKET_SIZE:
        raise damaged()
    return FoundBucket(row["key"], BucketId(row["created_at"], row["number"]), bytes(content), row["is_open"])


def check_version(row: Mapping[str, Any]) -> None:
    """Look at what a statement found as the tables' ``version``; raises :class:`~onion_rdv.errors.StoreError`."""
    known = postgres_setup.SCHEMA_VERSION
    if row["version"] is None or row["version"] < known:
        raise damaged()
    if row["version"] > known:
        raise StoreError(
            "the tables in PostgreSQL were changed by a newer onion-rdv, and this one stores nothing there any more"
            f" (their schema is {row['version']}, this one knows {known})",
            hint="upgrade this server to the version of the newest one",
        )


def damaged() -> StoreError:
    """Tell of rows that must be there and are not, or are not what was written."""
    return StoreError("the tables in PostgreSQL are damaged", hint="put a backup back, or name another database")
