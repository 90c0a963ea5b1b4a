"""What is particular to the store in a SQLite file: the file itself, and what can be wrong with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from file_limits import no_file_larger_than
from stores import (
    ONION_KEY,
    START,
    TICK,
    Clock,
    RoundingUp,
    an_entry,
    cheap_link,
    close_at_the_second_try,
    hold_links,
    open_sqlite,
    until,
    until_closed,
    until_kept,
)

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous import links, sqlite_thread
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.sqlite_file import StoreFile
from onion_rdv.storage import file as storage_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(autouse=True)
def _cheap_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "bucket_link", cheap_link)


def everything_in(directory: Path) -> bytes:
    """All bytes of the database: file, log, and whatever else is there."""
    return b"".join(file.read_bytes() for file in sorted(directory.iterdir()))


def shows(data: bytes, bucket: bytes) -> bool:
    """Tell whether some 64 bytes of a bucket are in ``data``."""
    return any(bucket[start : start + 64] in data for start in range(0, BUCKET_SIZE, 64))


def log_is_empty(directory: Path) -> bool:
    return (directory / "store.db-wal").stat().st_size == 0


async def test_files_are_nobody_elses(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = await open_sqlite(tmp_path)
        await store.store(an_entry())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        assert modes == {"store.db": 0o600, "store.db-wal": 0o600}
        await store.close()
        (tmp_path / "store.db").chmod(0o644)
        await (await open_sqlite(tmp_path)).close()
        assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600
    finally:
        os.umask(umask)


async def test_what_expired_is_nowhere_in_the_files(tmp_path: Path) -> None:
    clock = Clock()
    store = await open_sqlite(tmp_path, clock=clock, window=60, lifetime=1000)
    old = {}
    for _ in range(3 * BUCKET_ENTRIES + 7):
        stored = await store.store(an_entry())
        old[stored.bucket_id] = stored.bucket
    clock.now += 900
    kept = await store.store(an_entry())
    for bucket_id in old:
        assert await store.fetch(cheap_link(bucket_id)) is not None
    assert all(shows(everything_in(tmp_path), bucket) for bucket in old.values())
    clock.now += 100
    await until_kept(store, 1)
    await until(lambda: log_is_empty(tmp_path))
    data = everything_in(tmp_path)
    assert not any(shows(data, bucket) for bucket in old.values())
    assert not any(cheap_link(bucket_id) in data for bucket_id in old)
    assert shows(data, kept.bucket)
    await store.close()
    data = everything_in(tmp_path)
    assert not any(shows(data, bucket) for bucket in old.values())


async def test_the_log_does_not_grow_for_as_long_as_stores_keep_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_file, "LONGEST_LOG", 10)
    monkeypatch.setattr(sqlite_thread, "_FORGET_LATEST", 600.0)
    store = await open_sqlite(tmp_path, clock=Clock())
    pages_of_4096 = []
    for _ in range(10 * BUCKET_ENTRIES):  # each writes two pages at least
        await store.store(an_entry())
        pages_of_4096.append((tmp_path / "store.db-wal").stat().st_size // 4096)
    assert max(pages_of_4096) < 20 * 10
    await store.close()


async def test_disk_space_comes_back(tmp_path: Path) -> None:
    clock = Clock()
    store = await open_sqlite(tmp_path, clock=clock, window=60, lifetime=1000)
    for _ in range(20):
        await asyncio.gather(*(store.store(an_entry()) for _ in range(10 * BUCKET_ENTRIES)))
    await until(lambda: log_is_empty(tmp_path))
    assert (tmp_path / "store.db").stat().st_size > 200 * BUCKET_SIZE
    clock.now += 1000
    await until_kept(store, 0)
    await until(lambda: log_is_empty(tmp_path))
    assert (tmp_path / "store.db").stat().st_size < 20 * BUCKET_SIZE
    await store.close()


class Scripted(Random):
    """Randomness that gives a bucket the content that was settled before, and rounds totals down."""

    def __init__(self, filler: bytes) -> None:
        super().__init__(1)
        self._filler = filler

    def randbytes(self, n: int) -> bytes:
        if n == BUCKET_SIZE:
            return self._filler
        # Keys that leave places in their order: the last one is taken first.
        return b"".join(place.to_bytes(n // BUCKET_ENTRIES) for place in range(BUCKET_ENTRIES))

    def randrange(self, *args: int) -> int:  # type: ignore[override]
        return args[0] - 1


async def test_the_file_of_a_closed_bucket_is_the_same_however_many_entries_it_took(tmp_path: Path) -> None:
    content = Random(5).randbytes(BUCKET_SIZE)
    files = []
    for count in (1, 2, 40, 63):
        directory = tmp_path / str(count)
        directory.mkdir()
        clock = Clock()
        # What takes a place is what stood there before, so that only the number of stores differs.
        store = await open_sqlite(directory, clock=clock, window=60, randomness=Scripted(content))
        for entry in reversed(entries(content)[-count:]):
            assert (await store.store(entry)).bucket == content
        await store.fetch(cheap_link(BucketId(START, 0)))
        while_open = everything_in(directory)
        clock.now += 60
        await until(lambda directory=directory: log_is_empty(directory))  # type: ignore[misc]
        while_running = {file.name: file.read_bytes() for file in directory.iterdir()}
        await store.close()
        files.append((while_running, {file.name: file.read_bytes() for file in directory.iterdir()}))
        assert everything_in(directory) != while_open
    assert files.count(files[0]) == len(files)
    assert set(files[0][0]) == {"store.db", "store.db-wal"}


async def test_nor_does_it_show_when_the_server_was_killed_while_the_bucket_was_open(tmp_path: Path) -> None:
    content = Random(5).randbytes(BUCKET_SIZE)
    files = []
    for count in (1, 2, 40, 63):
        alive, after = tmp_path / f"{count} alive", tmp_path / f"{count} after"
        alive.mkdir()
        clock = Clock()
        store = await open_sqlite(alive, clock=clock, window=60, randomness=Scripted(content))
        for entry in reversed(entries(content)[-count:]):
            await store.store(entry)
        await store.fetch(cheap_link(BucketId(START, 0)))
        shutil.copytree(alive, after)  # what is there when the process is killed now
        await store.close()
        assert not log_is_empty(after)
        store = await open_sqlite(after, clock=clock, window=60, randomness=Scripted(content))
        clock.now += 60
        await until_closed(store)
        await until(lambda after=after: log_is_empty(after))  # type: ignore[misc]
        files.append({file.name: file.read_bytes() for file in after.iterdir()})
        assert await store.fetch(cheap_link(BucketId(START, 0))) == content
        await store.close()
    assert files.count(files[0]) == len(files)


async def test_a_full_bucket_leaves_nothing_in_the_log(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES)))
    await until(lambda: log_is_empty(tmp_path))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql:
        assert sql.execute("SELECT count(*) FROM filling").fetchone() == (0,)


async def test_looking_for_a_link_needs_no_search(tmp_path: Path) -> None:
    plans: list[str] = []

    class Explaining(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql.startswith("SELECT entries"):
                plans.extend(row[3] for row in super().execute(f"EXPLAIN QUERY PLAN {sql}", *arguments))
            return super().execute(sql, *arguments)

    await (await open_sqlite(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "store.db", factory=Explaining)) as connection:
        assert StoreFile(-1, connection).read(bytes(16), None) is None
    assert plans == [
        "SEARCH content USING INTEGER PRIMARY KEY (rowid=?)",
        "SCALAR SUBQUERY 1",
        "SEARCH bucket USING COVERING INDEX sqlite_autoindex_bucket_1 (link=?)",
    ]


async def test_opening_that_is_given_up_leaves_no_one_at_the_file(tmp_path: Path) -> None:
    opening = asyncio.create_task(SqliteStore.open(tmp_path / "store", ONION_KEY))
    await asyncio.sleep(0)  # it has begun
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    (tmp_path / "store").unlink(missing_ok=True)
    assert list(tmp_path.iterdir()) == [], "nothing is open, and nothing comes after"
    await (await SqliteStore.open(tmp_path / "store", ONION_KEY)).close()


async def test_a_second_server_is_refused(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    stored = await store.store(an_entry())
    with pytest.raises(StoreError, match="another server is running on") as caught:
        await open_sqlite(tmp_path)
    assert "stop it first" in caught.value.hint
    program = (
        "import asyncio, sys; from pathlib import Path; from onion_rdv.rendezvous.sqlite import SqliteStore;"
        "asyncio.run(SqliteStore.open(Path(sys.argv[1]), bytes(range(32))))"
    )
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "store.db"), stderr=subprocess.PIPE
    )
    _, said = await second.communicate()
    assert b"another server is running on" in said
    assert (await store.store(an_entry())).bucket_id == stored.bucket_id
    await store.close()


async def refused(directory: Path, reason: str) -> None:
    """See that the file is refused and stays as it is."""
    file = directory / "store.db"
    before = file.read_bytes(), file.stat().st_mtime_ns
    with pytest.raises(StoreError, match=reason) as caught:
        await open_sqlite(directory)
    assert caught.value.hint
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert [found.name for found in directory.iterdir()] == ["store.db"]


async def test_the_store_of_a_newer_version_is_left_untouched(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql:
        sql.execute("PRAGMA user_version = 2")
        sql.execute("ALTER TABLE owner ADD COLUMN something_new")
    await refused(tmp_path, "written by a newer onion-rdv")


async def test_another_programs_database_is_left_untouched(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql:
        sql.execute("CREATE TABLE recipe (cake)")
    await refused(tmp_path, "is not a store of onion-rdv")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x", "damaged, or it is no database"),
        (b"\xff" * 5000, "damaged, or it is no database"),
        (b"SQLite format 3\0" + b"\xff" * 5000, "is not a store of onion-rdv"),
    ],
)
async def test_what_is_no_database_is_left_untouched(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "store.db").write_bytes(content)
    await refused(tmp_path, reason)


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    store = await open_sqlite(tmp_path)
    await store.store(an_entry())
    await store.close()


async def test_damage_inside_is_said_and_the_rest_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = await open_sqlite(tmp_path, clock=Clock())
    for _ in range(40):
        await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES)))
    last = await store.store(an_entry())
    await store.close()
    file = tmp_path / "store.db"
    pages = file.stat().st_size // 4096
    data = bytearray(file.read_bytes())
    for page in range(20, pages - 20):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    file.write_bytes(data)
    store = await open_sqlite(tmp_path, clock=Clock(), cached_buckets=0)
    for _ in range(2):
        errors = []
        for number in range(40):
            try:
                await store.fetch(cheap_link(BucketId(START, number)))
            except StoreError as error:
                errors.append(error)
        assert len(errors) > 20
        assert all("damaged" in error.message and "backup" in error.hint for error in errors)
    assert await store.fetch(cheap_link(last.bucket_id)) == last.bucket
    assert sum("damaged" in message for message in caplog.messages) == 1
    await store.close()


async def test_a_bucket_of_the_wrong_size_is_damage(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, clock=Clock())
    await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES)))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql, sql:
        sql.execute("PRAGMA ignore_check_constraints = ON")
        sql.execute("UPDATE content SET entries = substr(entries, 2)")
    store = await open_sqlite(tmp_path, clock=Clock())
    with pytest.raises(StoreError, match="damaged"):
        await store.fetch(cheap_link(BucketId(START, 0)))
    await store.close()


async def test_a_table_that_is_gone_is_said_in_sqlites_words(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql, sql:
        sql.execute("DROP TABLE content")
    with pytest.raises(StoreError, match="no such table: content"):
        await open_sqlite(tmp_path)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user for whom permissions count."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        store = await open_sqlite(directory)
        await store.store(an_entry())
        await store.close()
        (directory / "empty").mkdir()
        for part in (directory, directory / "empty"):
            part.chmod(0o555)
        (directory / "store.db").chmod(0o444)
        with as_nobody():
            for place, reason in ((directory / "empty", "Permission denied"), (directory, "not permitted|cannot be")):
                with pytest.raises(StoreError, match=reason) as caught:
                    await open_sqlite(place)
                assert "must belong to the user" in caught.value.hint
        for part in (directory, directory / "empty"):
            part.chmod(0o755)
    (tmp_path / "file").touch()
    (tmp_path / "directory" / "store.db").mkdir(parents=True)
    for name in ("file", "missing", "directory"):
        with pytest.raises(StoreError, match=str(tmp_path)):
            await open_sqlite(tmp_path / name)


async def test_a_disk_that_gets_full_in_the_middle_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_sqlite(tmp_path, clock=Clock(), cached_buckets=0)
    acknowledged: list[bytes] = []
    unkept: list[bytes] = []

    async def put(entry: bytes) -> None:
        try:
            await store.store(entry)
        except StoreError:
            unkept.append(entry)
        else:
            acknowledged.append(entry)

    async def put_many() -> None:
        for _ in range(4):
            await asyncio.gather(*(put(an_entry()) for _ in range(100)))

    await put(an_entry())
    for size in (0, 1_000, 30_000, 60_000):
        unkept_before = len(unkept)
        with no_file_larger_than(size):
            await put_many()
            bucket = await store.fetch(cheap_link(BucketId(START, 0)))
            assert bucket is not None
            assert bucket.count(acknowledged[0]) == 1
        assert len(unkept) > unkept_before
        acknowledged_before = len(acknowledged)
        await put_many()  # there is room again
        assert len(acknowledged) == acknowledged_before + 400
    assert any("limit on file sizes" in message for message in caplog.messages)
    for _ in range(2):
        kept = []
        for number in range((await store.totals()).buckets):
            kept += entries(await store.fetch(cheap_link(BucketId(START, number))) or b"")
        assert all(kept.count(entry) == 1 for entry in acknowledged)
        assert not set(unkept) & set(kept)
        await store.close()
        store = await open_sqlite(tmp_path, clock=Clock())
    await store.close()


@asynccontextmanager
async def a_full_disk() -> AsyncIterator[None]:
    with no_file_larger_than(0):
        yield


async def test_totals_that_were_not_committed_are_not_told_and_not_lost(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, clock=Clock(), randomness=RoundingUp())
    refused, closed = await close_at_the_second_try(store, a_full_disk())
    assert (refused.stored_on_disk, refused.opened) == (0, 1)
    assert (closed.stored_on_disk, closed.opened) == (BUCKET_ENTRIES, 1)
    await store.close()
    store = await open_sqlite(tmp_path, clock=Clock())
    totals = await store.totals()
    assert (totals.stored_on_disk, totals.opened) == (2 * BUCKET_ENTRIES, 1)
    await store.close()


async def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await open_sqlite(tmp_path)).close()
    with monkeypatch.context() as patch:
        # SQLite's own limit on pages fails in the way in which a full disk does.
        patch.setattr(storage_file, "_PRAGMAS", (*storage_file._PRAGMAS, "max_page_count = 30"))
        store = await open_sqlite(tmp_path)
        with pytest.raises(StoreError, match="there is no space left for") as caught:
            await asyncio.gather(*(store.store(an_entry()) for _ in range(10 * BUCKET_ENTRIES)))
        assert "goes on by itself" in caught.value.hint
    with suppress(StoreError):  # the file may have been opened once more under the limit
        await asyncio.gather(*(store.store(an_entry()) for _ in range(10 * BUCKET_ENTRIES)))
    await asyncio.gather(*(store.store(an_entry()) for _ in range(10 * BUCKET_ENTRIES)))
    await store.close()


async def test_a_fault_of_our_own_is_no_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    store = await open_sqlite(tmp_path, clock=clock)
    clock.now = -5.0  # no bucket id can say that
    with pytest.raises(StoreError, match=r"a fault inside \(ValueError\)"):
        await store.store(an_entry())
    clock.now = START
    assert (await store.store(an_entry())).bucket_id == BucketId(START, 0)
    await store.close()
    assert sum("a fault inside" in message for message in caplog.messages) == 1


async def test_links_that_a_crash_lost_are_made_at_the_start(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, clock=Clock())
    await asyncio.gather(*(store.store(an_entry()) for _ in range(BUCKET_ENTRIES + 1)))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as sql, sql:
        sql.execute("UPDATE bucket SET link = NULL")
    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY, tick=TICK, clock=Clock())
    for number in range(2):
        assert await store.fetch(cheap_link(BucketId(START, number))) is not None
    await store.close()


async def test_a_bucket_gets_no_link_of_one_that_was_erased_before_its_link_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock jumps far ahead at that moment; SQLite gives the next bucket the erased one's key."""
    go_on = hold_links(monkeypatch)
    clock = Clock()
    store = await open_sqlite(tmp_path, clock=clock, window=60, lifetime=1000, cached_buckets=0)
    old = await store.store(an_entry())
    clock.now += 1000
    await until_kept(store, 0)
    new = await store.store(an_entry())
    go_on.set()
    assert await store.fetch(cheap_link(new.bucket_id)) == new.bucket
    assert await store.fetch(cheap_link(old.bucket_id)) is None
    await store.close()
