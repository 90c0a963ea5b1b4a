"""What a store in PostgreSQL gives out when it is backed up or moved, and takes in again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onion_rdv.rendezvous import postgres_tables as tables
from onion_rdv.rendezvous.kept import Kept, KeptBucket, Marks, not_empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onion_rdv.rendezvous.postgres_connections import Connection, Connections

_EXPORTED_AT_ONCE = 64
"""Buckets in one reply of the database: 1 MiB."""

_TAKEN_IN_AT_ONCE = 256
"""Buckets in one statement: 4 MiB."""

_PAGE = """
SELECT * FROM found WHERE (created_at, number) > ($1, $2) AND link IS NOT NULL ORDER BY created_at, number LIMIT $3
"""

_MARKS = "SELECT erased_until, erased_number, opened, stored, fetched FROM owner, usage"

_LOOK = "SELECT EXISTS (SELECT FROM bucket) AS has_buckets, (SELECT number FROM version) AS version"

_ADD_BUCKETS = """
WITH given AS (
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[])
         AS given (created_at, number, link, entries)
     ),
     added AS (INSERT INTO bucket (created_at, number, link) SELECT created_at, number, link FROM given
               RETURNING key, link)
INSERT INTO content SELECT key, entries FROM added JOIN given USING (link)
"""

_ADD_MARKS = """
UPDATE owner SET erased_until = greatest(erased_until, $1), erased_number = greatest(erased_number, $2)
"""


async def export(connections: Connections) -> AsyncIterator[Kept]:
    """Give all buckets that have their links, in the order of their ids, and then the marks."""
    created_at, number = -1, -1
    while True:
        async with connections.connection() as connection:
            page = await connection.fetch(_PAGE, created_at, number, _EXPORTED_AT_ONCE)
        for row in page:
            bucket = tables.found_bucket(row)
            yield KeptBucket(bucket.bucket_id, row["link"], bucket.content)
            created_at, number = row["created_at"], row["number"]
        if len(page) < _EXPORTED_AT_ONCE:
            break
    async with connections.connection() as connection:
        yield Marks(**await connection.fetchrow(_MARKS))


async def take_in(connections: Connections, kept: AsyncIterator[Kept]) -> None:
    """Add what another store gave out; raises :class:`~onion_rdv.errors.StoreError` where there are buckets."""
    buckets: list[KeptBucket] = []
    async with connections.transaction() as connection:  # one for all, so that no part is left of what fails
        found = await connection.fetchrow(_LOOK)
        tables.check_version(found)
        if found["has_buckets"]:
            raise not_empty()
        async for one in kept:
            if isinstance(one, KeptBucket):
                buckets.append(one)
            if len(buckets) == _TAKEN_IN_AT_ONCE or isinstance(one, Marks):
                await _add(connection, buckets, one if isinstance(one, Marks) else None)
                buckets = []


async def _add(connection: Connection, buckets: list[KeptBucket], marks: Marks | None) -> None:
    await connection.execute(
        _ADD_BUCKETS,
        [bucket.bucket_id.created_at for bucket in buckets],
        [bucket.bucket_id.number for bucket in buckets],
        [bucket.link for bucket in buckets],
        [bucket.content for bucket in buckets],
    )
    if marks is not None:
        await connection.execute(_ADD_MARKS, marks.erased_until, marks.erased_number)
        await tables.add_usage(connection, marks.stored, marks.fetched, opened=marks.opened)
