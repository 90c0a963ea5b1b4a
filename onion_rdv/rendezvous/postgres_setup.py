"""How a store begins in PostgreSQL, and how one that is there is taken up: migrated, or refused."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import asyncpg

from onion_rdv.errors import StoreError
from onion_rdv.rendezvous.postgres_connections import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onion_rdv.rendezvous.postgres_connections import Connection, Connections

SCHEMA_VERSION = 1
MIGRATIONS: Mapping[int, Sequence[str]] = {}
"""By the version that it begins from: the statements that lead to the next one."""

_MIGRATION_PATIENCE = 3600.0
"""Seconds for one statement of a migration."""

_ATTEMPTS = 8
"""How often the tables are locked anew before a migration is given up."""

_LOCK = 0x52445631  # "RDV1": of all advisory locks in the database, ours

_LOOK = """
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS has_schema,
       to_regclass($1 || '.version') IS NOT NULL AS is_ours,
       current_setting('fsync', true) AS fsync
"""

# Whoever places entries has `filling` before the other tables, and is out of them when it is ours; nobody who only
# reads waits for it. Those who read, link or erase have `bucket` before the others.
_STOP_STORES = "LOCK TABLE filling IN EXCLUSIVE MODE"
_STOP_ALL = "LOCK TABLE bucket, content, placed, filling, owner, usage, version IN ACCESS EXCLUSIVE MODE"


async def set_up(connections: Connections, onion_key: bytes) -> None:
    """Make the tables, or see that they are ours to use; servers that start at the same time do so in turn.

    Raises :class:`~onion_rdv.errors.StoreError` when the database belongs to another onion service, a newer version
    wrote it (then it is left untouched), something else uses our schema, or PostgreSQL does not keep what it commits.
    """
    async with connections.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        found = await connection.fetchrow(_LOOK, SCHEMA)
        if found["fsync"] == "off":
            raise StoreError(
                f"{connections.name} would lose what was acknowledged when its machine crashes",
                hint="set fsync = on in postgresql.conf",
            )
        if not found["has_schema"]:
            await _create(connection, onion_key)
            return
        if not found["is_ours"]:
            raise StoreError(
                f"the schema {SCHEMA} on {connections.name} is not a store of onion-rdv", hint="name another database"
            )
        await _take_up(connection, onion_key, connections.name)


async def _create(connection: Connection, onion_key: bytes) -> None:
    tables = resources.files("onion_rdv.rendezvous").joinpath("postgres_schema.sql").read_text("utf-8")
    await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    await connection.execute(tables)
    await connection.execute("INSERT INTO version VALUES ($1)", SCHEMA_VERSION)
    await connection.execute("INSERT INTO owner (onion_key) VALUES ($1)", onion_key)


async def _take_up(connection: Connection, onion_key: bytes, name: str) -> None:
    version = await connection.fetchval("SELECT number FROM version")
    if version is None or version > SCHEMA_VERSION:
        raise StoreError(
            f"{name} was written by a newer onion-rdv (its schema is {version}, this one knows {SCHEMA_VERSION})",
            hint="run the newer onion-rdv; the store was not touched",
        )
    if await connection.fetchval("SELECT onion_key FROM owner") != onion_key:
        raise StoreError(
            f"{name} belongs to another onion service",
            hint="give each onion service a database of its own, or put its own key back",
        )
    if version < SCHEMA_VERSION:
        await _lock_tables(connection)
        await connection.execute("SET LOCAL statement_timeout = 0")  # there may be much to do, and nobody waits
    for step in range(version, SCHEMA_VERSION):
        if step not in MIGRATIONS:
            raise StoreError(
                f"{name} was written by an onion-rdv that is too old (its schema is {step})",
                hint="run a version between that one and this one first",
            )
        for statement in MIGRATIONS[step]:
            await connection.execute(statement, timeout=_MIGRATION_PATIENCE)
        await connection.execute("UPDATE version SET number = $1", step + 1)


async def _lock_tables(connection: Connection) -> None:
    """Have all tables for ourselves until the end of the transaction.

    Older servers may be running: they have looked at the version and still write by it, or have to look anew. To lock
    the version's table alone would not do: their statements have others, which are to be changed, by the time they
    come to it. Some statement may have ours in another order; PostgreSQL then ends one of the two after a second, and
    if it is this one, it lets go of what it has and tries again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(_STOP_STORES)
                await connection.execute(_STOP_ALL)
        except asyncpg.DeadlockDetectedError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return
