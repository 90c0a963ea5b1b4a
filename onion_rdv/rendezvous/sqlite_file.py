"""One SQLite file that holds a store: how it is opened, and its statements. For one thread.

How the file is kept from showing what the protocol says is forgotten:

* The connection is the only one there can be (``locking_mode=EXCLUSIVE``), so the index of the write-ahead log is
  in memory and no ``-shm`` file lists which pages were written when.
* ``secure_delete`` overwrites with zeroes whatever is deleted, in the tables and in free pages.
* The write-ahead log holds earlier states of pages: :meth:`StoreFile.forget` moves the last state into the file
  and cuts the log to nothing. Nothing else ever checkpoints it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
from importlib import resources
from typing import TYPE_CHECKING, Any, Self, cast

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_SIZE, BucketId
from onion_rdv.rendezvous.filling import FillingBucket
from onion_rdv.rendezvous.sqlite_faults import Damaged, explain
from onion_rdv.rendezvous.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

APPLICATION_ID = 0x52445631  # "RDV1"
SCHEMA_VERSION = 1

_MAGIC = b"SQLite format 3\0"
_HEADER = struct.Struct(">40x I 16x I 4x I 28x")  # schema cookie at 40, user version at 60, application id at 68

_PRAGMAS = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit has reached the disk before it is over
    "secure_delete = ON",
    "wal_autocheckpoint = 0",
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)


class StoreFile:
    """An open store; every method raises :class:`sqlite3.Error` when SQLite does, see ``sqlite_faults.py``."""

    def __init__(self, lock: int, connection: sqlite3.Connection) -> None:
        self._lock = lock
        self._sql = connection

    @classmethod
    def open(cls, path: Path, onion_key: bytes) -> Self:
        """Open the store of an onion service, or make it; raises :class:`~onion_rdv.errors.StoreError`."""
        with contextlib.ExitStack() as cleanup:
            try:
                lock = _lock(path)
                cleanup.callback(os.close, lock)
                is_new = _look_at(lock, path)
                # autocommit: a transaction is begun where one is meant
                connection = sqlite3.connect(path, isolation_level=None, timeout=0)
                cleanup.callback(connection.close)
                if is_new:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                for pragma in _PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}")
                store = cls(lock, connection)
                if not store._value("SELECT count(*) FROM sqlite_schema"):
                    store._create(onion_key)
                if store._value("SELECT onion_key FROM owner") != onion_key:
                    raise _foreign(path)
            except (sqlite3.Error, OSError) as error:
                raise explain(error, path) from None
            cleanup.pop_all()
        return store

    def _create(self, onion_key: bytes) -> None:
        tables = resources.files("onion_rdv.rendezvous").joinpath("sqlite_schema.sql").read_text("utf-8")
        self._sql.executescript(f"BEGIN IMMEDIATE; {tables}")
        self._sql.execute("INSERT INTO owner (onion_key) VALUES (?)", (onion_key,))
        self._sql.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._sql.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is done inside reach the disk as a whole before this is left, or not at all."""
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._sql.in_transaction:  # SQLite itself may have rolled back
                self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    # What is stored

    def open_bucket(self, created_at: int, randomness: Random) -> FillingBucket:
        """Open a bucket in this second, under a number that no bucket of that second ever had."""
        number = self._value(
            "SELECT 1 + max((SELECT coalesce(max(number), -1) FROM bucket WHERE created_at = ?1),"
            " (SELECT iif(?1 <= erased_until, erased_number, -1) FROM owner))",
            created_at,
        )
        sql = self._sql
        key = sql.execute("INSERT INTO bucket (created_at, number) VALUES (?, ?)", (created_at, number)).lastrowid
        filling = FillingBucket.new(cast("int", key), BucketId(created_at, number), randomness)
        sql.execute("INSERT INTO content VALUES (?, ?)", (key, filling.content()))
        sql.execute("INSERT INTO filling VALUES (?, ?)", (key, filling.taken))
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

    def set_link(self, key: int, link: bytes) -> None:
        """Let a bucket be found under its link."""
        self._sql.execute("UPDATE bucket SET link = ? WHERE key = ?", (link, key))

    def add_usage(self, opened: int, stored: int, fetched: int) -> None:
        """Add to the totals."""
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
        """Give the totals."""
        return Usage(*self._sql.execute("SELECT opened, stored, fetched FROM usage").fetchone())

    # What is forgotten

    def erase(self, until: float, limit: int) -> list[bytes | None]:
        """Erase the oldest buckets, at most ``limit``, that were opened in second ``until`` or earlier.

        Gives their links. The open bucket must not be among them.
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
        return [link for _, _, _, link in rows]

    def shrink(self, pages: int) -> None:
        """Give up to this many free pages back to the file system when more than half of the file is free pages."""
        if 2 * self._value("PRAGMA freelist_count") > self._value("PRAGMA page_count"):
            # One step for each page, which only executescript takes: their rows have no columns.
            self._sql.executescript(f"PRAGMA incremental_vacuum({pages})")

    def forget(self) -> None:
        """Move everything out of the write-ahead log, which holds earlier states, and cut it to nothing."""
        self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Give the file back."""
        self._sql.close()
        os.close(self._lock)

    def _value(self, statement: str, *arguments: object) -> Any:
        row = self._sql.execute(statement, arguments).fetchone()
        return None if row is None else row[0]


def _lock(path: Path) -> int:
    """Open the file, or make it, for this user only (SQLite gives its log the same mode); lock out other servers.

    SQLite's own locks would end as soon as anything in this process opened and closed the file (fcntl(2)).
    """
    is_new = False
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
        is_new = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        if is_new:
            _sync_directory(path.parent)  # the file's name has to survive a crash as well
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _look_at(descriptor: int, path: Path) -> bool:
    """Refuse a file that is not ours to change, before SQLite could change it; tell whether it is empty.

    This goes by the file's header (https://sqlite.org/fileformat2.html, section 1.3), because a crash may have left
    everything else in it to be mended from the log.
    """
    header = os.pread(descriptor, _HEADER.size, 0)
    if not header:
        return True
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise Damaged
    changes_of_schema, version, application_id = _HEADER.unpack(header)
    if application_id != APPLICATION_ID and (application_id or changes_of_schema):
        raise StoreError(f"{path} is not a store of onion-rdv", hint="name another state directory")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer onion-rdv (its schema is {version}, this one knows {SCHEMA_VERSION})",
            hint="run the newer onion-rdv; the store was not touched",
        )
    return False


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
