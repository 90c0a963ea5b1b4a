"""Which store a server has: a SQLite file in its state directory, or a PostgreSQL database that others share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onion_rdv.rendezvous.cache import DEFAULT_CACHED_BUCKETS
from onion_rdv.rendezvous.rules import DEFAULT_RULES, Rules

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.rendezvous.store import BucketStore

STORE_FILE = "buckets.sqlite"


async def open_store(
    database: str | None,
    state_directory: Path,
    onion_key: bytes,
    rules: Rules = DEFAULT_RULES,
    *,
    cached_buckets: int = DEFAULT_CACHED_BUCKETS,
) -> BucketStore:
    """Open the store of the onion service with this 32-byte public key.

    ``database`` is the URL of a PostgreSQL database; None is for the file in the state directory. Raises
    :class:`~onion_rdv.errors.StoreError`, and :class:`~onion_rdv.errors.SettingsError` for a URL that is none.
    """
    if database is None:
        from onion_rdv.rendezvous.sqlite import SqliteStore

        return await SqliteStore.open(state_directory / STORE_FILE, onion_key, rules, cached_buckets=cached_buckets)
    from onion_rdv.rendezvous.postgres import PostgresStore
    from onion_rdv.rendezvous.postgres_address import DatabaseAddress

    return await PostgresStore.open(DatabaseAddress.parse(database), onion_key, rules, cached_buckets=cached_buckets)
