"""One SQLite file that holds a store: how it is opened, written and made to forget. For one thread.

How the file is kept from showing what is forgotten:

* The connection is the only one there can be (``locking_mode=EXCLUSIVE``), so the index of the write-ahead log is
  in memory and no ``-shm`` file lists which pages were written when.
* ``secure_delete`` overwrites with zeroes whatever is deleted, in the tables and in free pages.
* The write-ahead log holds earlier states of pages: :meth:`SqliteFile.forget` moves the last state into the file
  and cuts the log to nothing. Until then :meth:`SqliteFile.rewind` lets it be written from its beginning again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

from onion_rdv.errors import StoreError
from onion_rdv.storage.faults import Damaged, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_MAGIC = b"SQLite format 3\0"
_HEADER = struct.Struct(">40x I 16x I 4x I 28x")  # schema cookie at 40, user version at 60, application id at 68

_PRAGMAS = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit has reached the disk before it is over
    "secure_delete = ON",
    "wal_autocheckpoint = 0",
    "cache_size = -6000",  # KiB: the upper pages of every index; the system's own cache has the rest
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)

LONGEST_LOG = 128
"""Transactions in the log before it is written from its beginning again; one has some 8 pages of 4 KiB."""


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of store.

    ``application_id`` and ``version`` stand in the file's header; ``schema`` is the package and the file of its
    tables; ``lost`` names what goes with a file that is moved away. ``migrations`` has, by the version that it begins
    from, the statements that lead to the next one.
    """

    application_id: int
    version: int
    schema: tuple[str, str]
    lost: str
    migrations: Mapping[int, Sequence[str]] = field(default_factory=dict)


class SqliteFile:
    """An open file; every method raises :class:`sqlite3.Error` when SQLite does, see ``faults.py``."""

    def __init__(self, lock: int, connection: sqlite3.Connection) -> None:
        self._lock = lock
        self._sql = connection
        self._in_log = 0  # transactions since it was begun

    @classmethod
    def open_as(cls, form: Form, path: Path, *, begin: Callable[[Self], None], check: Callable[[Self], None]) -> Self:
        """Open the file at ``path``, or make it; raises :class:`~onion_rdv.errors.StoreError`.

        ``begin`` may fill the tables of a new file; ``check`` may refuse what stands in the file. That of an older
        version is migrated, unless it is refused: the file is left as it was then.
        """
        with contextlib.ExitStack() as cleanup:
            try:
                lock = _lock(path)
                cleanup.callback(os.close, lock)
                is_new = _look_at(lock, path, form)
                # autocommit: a transaction is begun where one is meant
                connection = sqlite3.connect(path, isolation_level=None, timeout=0)
                cleanup.callback(connection.close)
                if is_new:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                for pragma in _PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}")
                file = cls(lock, connection)
                if not file._value("SELECT count(*) FROM sqlite_schema"):
                    file._create(form, begin)
                is_older = file._value("PRAGMA user_version") < form.version
                with file.transaction() if is_older else contextlib.nullcontext():
                    file._migrate(form, path)
                    check(file)
            except (sqlite3.Error, OSError) as error:
                raise explain(error, path, form.lost) from None
            cleanup.pop_all()
        return file

    def _create(self, form: Form, begin: Callable[[Self], None]) -> None:
        package, name = form.schema
        tables = resources.files(package).joinpath(name).read_text("utf-8")
        self._sql.executescript(f"BEGIN IMMEDIATE; {tables}")
        begin(self)
        self._sql.execute(f"PRAGMA application_id = {form.application_id}")
        self._sql.execute(f"PRAGMA user_version = {form.version}")
        self._sql.execute("COMMIT")

    def _migrate(self, form: Form, path: Path) -> None:
        for version in range(self._value("PRAGMA user_version"), form.version):
            if version not in form.migrations:
                raise StoreError(
                    f"{path} was written by an onion-rdv that is too old (its schema is {version})",
                    hint="run a version between that one and this one first",
                )
            for statement in form.migrations[version]:
                self._sql.execute(statement)
            self._sql.execute(f"PRAGMA user_version = {version + 1}")

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
        self._in_log += 1

    def shrink(self, pages: int) -> None:
        """Give up to this many free pages back to the file system when more than half of the file is free pages."""
        if 2 * self._value("PRAGMA freelist_count") > self._value("PRAGMA page_count"):
            # One step for each page, which only executescript takes: their rows have no columns.
            self._sql.executescript(f"PRAGMA incremental_vacuum({pages})")

    def forget(self) -> None:
        """Move everything out of the write-ahead log, which holds earlier states, and cut it to nothing."""
        self._in_log = 0
        self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @property
    def is_log_long(self) -> bool:
        """Whether it is time to :meth:`rewind`."""
        return self._in_log >= LONGEST_LOG

    def rewind(self) -> None:
        """Have the log written from its beginning again, over what the file has by then.

        What is written over data takes little more than half the time until it is on the disk than what makes a file
        longer, which changes the file system's own records too.
        """
        self._in_log = 0
        self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Give the file back."""
        self._sql.close()
        os.close(self._lock)

    def _value(self, statement: str, *arguments: object) -> Any:
        row = self._sql.execute(statement, arguments).fetchone()
        return None if row is None else row[0]


def size_of(path: Path) -> int:
    """Give the bytes that a store at ``path`` and its log take on disk."""
    size = 0
    for part in (path, f"{path}-wal"):
        with contextlib.suppress(FileNotFoundError):
            size += os.stat(part).st_size  # noqa: PTH116  # one of them is no Path
    return size


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


def _look_at(descriptor: int, path: Path, form: Form) -> bool:
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
    if application_id != form.application_id and (application_id or changes_of_schema):
        raise StoreError(f"{path} is not a store of onion-rdv", hint="name another state directory")
    if version > form.version:
        raise StoreError(
            f"{path} was written by a newer onion-rdv (its schema is {version}, this one knows {form.version})",
            hint="run the newer onion-rdv; the store was not touched",
        )
    return False
