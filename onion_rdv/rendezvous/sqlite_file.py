"""The SQLite file that holds a store of buckets, and its statements. For one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, cast

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_SIZE, BucketId
from onion_rdv.rendezvous.filling import FillingBucket
from onion_rdv.rendezvous.kept import KeptBucket, Marks
from onion_rdv.rendezvous.rules import CEILING_SECONDS
from onion_rdv.rendezvous.usage import Usage
from onion_rdv.storage.faults import Damaged
from onion_rdv.storage.file import Form, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from random import Random

    from onion_rdv.rendezvous.kept import Kept
    from onion_rdv.rendezvous.rules import Ceiling

APPLICATION_ID = 0x52445631  # "RDV1"
SCHEMA_VERSION = 1
LOST = "old invites"

_FORM = Form(APPLICATION_ID, SCHEMA_VERSION, ("onion_rdv.rendezvous", "sqlite_schema.sql"), LOST)


class StoreFile(SqliteFile):
    """An open store."""

    @classmethod
    def open(cls, path: Path, onion_key: bytes) -> Self:
        """Open the store of an onion service, or make it; raises :class:`~onion_rdv.errors.StoreError`."""

        def belong(store: Self) -> None:
            store._sql.execute("INSERT INTO owner (onion_key) VALUES (?)", (onion_key,))

        def check(store: Self) -> None:
            if store._value("SELECT onion_key FROM owner") != onion_key:
                raise _foreign(path)

        return cls.open_as(_FORM, path, begin=belong, check=check)

    # What is stored

    def open_bucket(self, created_at: int, ceiling: Ceiling, randomness: Random) -> FillingBucket:
        """Open a bucket in this second, under a number that no bucket of that second ever had.

        Raises :class:`~onion_rdv.errors.TooManyBuckets`, and then has written nothing.
        """
        number = self._value(
            "SELECT 1 + max((SELECT coalesce(max(number), -1) FROM bucket WHERE created_at = ?1),"
            " (SELECT iif(?1 <= erased_until, erased_number, -1) FROM owner))",
            created_at,
        )
        lately = self._value(
            "SELECT count(*) FROM (SELECT 1 FROM bucket WHERE created_at > ?1 - ?2 AND created_at <= ?1 LIMIT ?3)",
            created_at,
            CEILING_SECONDS,
            ceiling.a_minute,
        )
        ceiling.check(number, lately)
        sql = self._sql
        key = sql.execute("INSERT INTO bucket (created_at, number) VALUES (?, ?)", (created_at, number)).lastrowid
        filling = FillingBucket.new(cast("int", key), BucketId(created_at, number), randomness)
        sql.execute("INSERT INTO content VALUES (?, ?)", (key, filling.content()))
        sql.execute("INSERT INTO filling VALUES (?, ?)", (key, filling.taken))
        sql.execute("UPDATE usage SET opened = opened + 1")
        return filling

    def resume(self, randomness: Random) -> FillingBucket | None:
        """Give the bucket that is open, if there is one."""
        row = self._sql.execute(
            "SELECT key, created_at, number, entries, taken"
            " FROM filling JOIN bucket USING (key) JOIN content USING (key)"
        ).fetchone()
        if row is None:
            return None
        key, created_at, number, entries, taken = row
        return FillingBucket(key, BucketId(created_at, number), _checked(entries), taken, randomness)

    def write(self, filling: FillingBucket, content: bytes) -> None:
        """Write the open bucket; SQLite compares and writes only the pages that changed."""
        self._sql.execute("UPDATE content SET entries = ? WHERE key = ?", (content, filling.key))
        self._sql.execute("UPDATE filling SET taken = ?", (filling.taken,))

    def close_bucket(self) -> None:
        """Forget which places are taken; :meth:`forget` makes the log forget it too."""
        self._sql.execute("DELETE FROM filling")

    def set_link(self, key: int, bucket_id: BucketId, link: bytes) -> None:
        """Let a bucket be found under its link, unless it was erased; another one may have its key by then."""
        self._sql.execute(
            "UPDATE bucket SET link = ? WHERE key = ? AND created_at = ? AND number = ?",
            (link, key, bucket_id.created_at, bucket_id.number),
        )

    def add_usage(self, stored: int, fetched: int, *, opened: int = 0) -> None:
        """Add to the totals; :meth:`open_bucket` counts the buckets."""
        self._sql.execute(
            "UPDATE usage SET opened = opened + ?, stored = stored + ?, fetched = fetched + ?",
            (opened, stored, fetched),
        )

    # What is looked up

    def read(self, link: bytes, key: int | None) -> bytes | None:
        """Give the bucket with this link, or with this key if the link has not been written."""
        entries = self._value(
            "SELECT entries FROM content WHERE key = coalesce(?2, (SELECT key FROM bucket WHERE link = ?1))",
            link,
            key,
        )
        return None if entries is None else _checked(entries)

    def unlinked(self) -> list[tuple[int, BucketId]]:
        """List the buckets without a link, with their keys."""
        rows = self._sql.execute("SELECT key, created_at, number FROM bucket WHERE link IS NULL")
        return [(key, BucketId(created_at, number)) for key, created_at, number in rows]

    def link_of(self, key: int) -> bytes | None:
        """Give a bucket's link, if it has been computed."""
        link: bytes | None = self._value("SELECT link FROM bucket WHERE key = ?", key)
        return link

    def count(self) -> int:
        """Count the buckets; this reads all of an index."""
        return int(self._value("SELECT count(*) FROM bucket"))

    def oldest(self) -> int | None:
        """Give the second in which the oldest bucket was opened."""
        created_at: int | None = self._value("SELECT min(created_at) FROM bucket")
        return created_at

    def usage(self) -> Usage:
        """Give the totals of entries and fetches."""
        return Usage(*self._sql.execute("SELECT stored, fetched FROM usage").fetchone())

    def opened(self) -> int:
        """Give how many buckets were ever opened."""
        return int(self._value("SELECT opened FROM usage"))

    # What is forgotten

    def erase(self, until: float, limit: int) -> list[tuple[int, bytes | None]]:
        """Erase the oldest buckets, at most ``limit``, that were opened in second ``until`` or earlier.

        Gives their keys and links. The open bucket must not be among them.
        """
        rows = self._sql.execute(
            "SELECT key, created_at, number, link FROM bucket WHERE created_at <= ? ORDER BY created_at LIMIT ?",
            (until, limit),
        ).fetchall()
        for key, created_at, number, _ in rows:
            self._sql.execute("DELETE FROM content WHERE key = ?", (key,))
            self._sql.execute("DELETE FROM bucket WHERE key = ?", (key,))
            self._sql.execute(
                "UPDATE owner SET erased_until = max(erased_until, ?), erased_number = max(erased_number, ?)",
                (created_at, number),
            )
        return [(key, link) for key, _, _, link in rows]

    # What goes into a backup, and comes out of it

    def page(self, after: BucketId | None, limit: int) -> list[KeptBucket]:
        """Give at most ``limit`` buckets whose ids come after this one, in their order; those without a link not."""
        rows = self._sql.execute(
            "SELECT created_at, number, link, entries FROM bucket JOIN content USING (key)"
            " WHERE (created_at, number) > (?, ?) AND link IS NOT NULL ORDER BY created_at, number LIMIT ?",
            (-1, -1, limit) if after is None else (after.created_at, after.number, limit),
        )
        return [
            KeptBucket(BucketId(created_at, number), link, _checked(entries))
            for created_at, number, link, entries in rows
        ]

    def marks(self) -> Marks:
        """Give what is remembered beside buckets."""
        until, number = self._sql.execute("SELECT erased_until, erased_number FROM owner").fetchone()
        return Marks(until, number, self.opened(), *self.usage().told)

    def take_in(self, kept: Iterable[Kept]) -> None:
        """Add what another store gave out."""
        for one in kept:
            if isinstance(one, Marks):
                self._sql.execute(
                    "UPDATE owner SET erased_until = max(erased_until, ?), erased_number = max(erased_number, ?)",
                    (one.erased_until, one.erased_number),
                )
                self.add_usage(one.stored, one.fetched, opened=one.opened)
            else:
                bucket_id = one.bucket_id
                key = self._sql.execute(
                    "INSERT INTO bucket (created_at, number, link) VALUES (?, ?, ?)",
                    (bucket_id.created_at, bucket_id.number, one.link),
                ).lastrowid
                self._sql.execute("INSERT INTO content VALUES (?, ?)", (key, one.content))


def _foreign(path: Path) -> StoreError:
    return StoreError(
        f"{path} belongs to another onion service",
        hint="give each onion service a state directory of its own, or put its own key back",
    )


def _checked(entries: object) -> bytes:
    """Take nothing for a bucket that has not its size: SQLite files can be damaged without SQLite seeing it."""
    if not isinstance(entries, bytes) or len(entries) != BUCKET_SIZE:
        raise Damaged
    return entries
