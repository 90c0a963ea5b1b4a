"""Backups: what goes in comes out, and nothing that is wrong with one is taken for the whole."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import aclosing, asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from command_line import COMMAND, environment
from stores import an_entry, cheap_link, open_postgres, until

from onion_rdv.errors import (
    BackupUnusable,
    NoServerHere,
    ReplyLost,
    SettingsError,
    StoreError,
)
from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, decode_onion_address
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.admin.client import AdminClient
from onion_rdv.rendezvous.admin.face import AdminFace
from onion_rdv.rendezvous.backup.making import write_backup
from onion_rdv.rendezvous.backup.records import Decoder, KeyFile, Owner, Record, encode
from onion_rdv.rendezvous.backup.restoring import restore
from onion_rdv.rendezvous.backup.sealing import opened
from onion_rdv.rendezvous.backup.serving import backup_routes, read_records
from onion_rdv.rendezvous.backup.sources import Places, running_server, stopped_server, with_tors_key
from onion_rdv.rendezvous.kept import KeptBucket, Marks
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.tor.onion_service.client_list import CLIENTS_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import ServiceKey, load_or_create

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from postgres_server import PostgresServer

PASSPHRASE = "correct horse battery staple"
KEY = ServiceKey.from_seed(bytes(32))
ONION_KEY = decode_onion_address(KEY.address)
CLIENTS = b"alice AMNPR7Q5JM2NFYZQWBQCZBW2WZUXTLIKDRHVV4PCDLW3PJSMIVCQ\n"

pytestmark = pytest.mark.usefixtures("_cheap_stretching", "_cheap_links")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Give the state directory of a server that has its key and two clients' names, and no store yet."""
    directory = tmp_path / "server"
    directory.mkdir(mode=0o700)
    (directory / KEY_FILE).write_text(KEY.encode())
    (directory / KEY_FILE).chmod(0o600)
    (directory / CLIENTS_FILE).write_bytes(CLIENTS)
    return Places(directory)


async def fill(places: Places, count: int) -> dict[bytes, bytes]:
    """Store entries as the server would; give its buckets by their links."""
    store = await SqliteStore.open(places.state_directory / STORE_FILE, ONION_KEY)
    stored = await asyncio.gather(*(store.store(an_entry()) for _ in range(count)))
    buckets = {cheap_link(one.bucket_id, ONION_KEY): one.bucket for one in stored}
    await store.close()
    return buckets


def unseal(path: Path, passphrase: str = PASSPHRASE) -> list[bytes]:
    with path.open("rb") as file:
        return list(opened(file, passphrase))


async def buckets_in(directory: Path, links: Any) -> dict[bytes, bytes | None]:
    store = await SqliteStore.open(directory / STORE_FILE, ONION_KEY)
    found = {link: await store.fetch(link) for link in links}
    await store.close()
    return found


# The whole way


async def test_a_stopped_server_comes_back(places: Places, tmp_path: Path) -> None:
    buckets = await fill(places, 3 * BUCKET_ENTRIES + 5)
    made = await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    assert (made.address, made.buckets, made.has_key, made.has_clients) == (KEY.address, 4, True, True)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600

    there = tmp_path / "elsewhere" / "server"
    assert await restore(unseal(tmp_path / "backup"), there) == made
    assert (there / KEY_FILE).read_text() == KEY.encode()
    assert (there / CLIENTS_FILE).read_bytes() == CLIENTS
    assert {file.stat().st_mode & 0o777 for file in there.iterdir()} == {0o600}
    assert there.stat().st_mode & 0o777 == 0o700
    assert await buckets_in(there, buckets) == buckets
    assert [file.name for file in there.parent.iterdir()] == ["server"]


@asynccontextmanager
async def administered(places: Places, tmp_path: Path) -> AsyncIterator[tuple[SqliteStore, AdminClient]]:
    store = await SqliteStore.open(places.state_directory / STORE_FILE, ONION_KEY)
    face = AdminFace(backup_routes(lambda: running_server(KEY.address, places, store)))
    await face.start(tmp_path / "socket", 0o600)
    try:
        yield store, AdminClient(tmp_path / "socket")
    finally:
        await face.stop()
        await store.close()


async def test_a_running_server_loses_nothing_that_it_had_acknowledged(places: Places, tmp_path: Path) -> None:
    acknowledged: set[bytes] = set()
    going_on = True

    async def keep_storing(store: SqliteStore) -> None:
        while going_on:
            entry = an_entry()
            with_it = await store.store(entry)
            assert with_it.bucket
            acknowledged.add(entry)

    async with administered(places, tmp_path) as (store, client):
        storing = [asyncio.create_task(keep_storing(store)) for _ in range(8)]
        try:
            while len(acknowledged) < 500:
                await asyncio.sleep(0)
            before = acknowledged.copy()
            made = await write_backup(read_records(client), tmp_path / "backup", PASSPHRASE)
            assert len(acknowledged) > len(before)
        finally:
            going_on = False
            await asyncio.gather(*storing)
    decoder = Decoder()
    records = [record for piece in unseal(tmp_path / "backup") for record in decoder.feed(piece)]
    held = {entry for record in records if isinstance(record, KeptBucket) for entry in entries(record.content)}
    assert before <= held
    assert made.buckets >= 500 // BUCKET_ENTRIES


async def test_what_is_restored_goes_on(places: Places, tmp_path: Path) -> None:
    buckets = await fill(places, 5)
    await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    (tmp_path / "empty").mkdir()
    await restore(unseal(tmp_path / "backup"), tmp_path / "empty")
    store = await SqliteStore.open(tmp_path / "empty" / STORE_FILE, ONION_KEY)
    stored = await store.store(an_entry())
    assert cheap_link(stored.bucket_id, ONION_KEY) not in buckets, "no bucket is open any more"
    await store.close()


async def test_a_store_moves_to_postgresql_and_back(places: Places, postgres: PostgresServer, tmp_path: Path) -> None:
    buckets = await fill(places, 2 * BUCKET_ENTRIES + 1)
    made = await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    database = await postgres.make_database()
    there = tmp_path / "there"
    with (tmp_path / "backup").open("rb") as file, pytest.raises(BackupUnusable):
        await restore(chain(list(opened(file, PASSPHRASE)), [b"more"]), there, database)
    assert await restore(unseal(tmp_path / "backup"), there, database) == made
    assert {file.name for file in there.iterdir()} == {KEY_FILE, CLIENTS_FILE}
    store = await open_postgres(database, ONION_KEY)
    assert {link: await store.fetch(link) for link in buckets} == buckets
    await store.close()
    with pytest.raises(StoreError, match="has buckets already"):
        await restore(unseal(tmp_path / "backup"), tmp_path / "again", database)
    assert not (tmp_path / "again").exists()

    from_there = stopped_server(Places(there, database=database))
    assert await write_backup(from_there, tmp_path / "second", PASSPHRASE) == made
    await restore(unseal(tmp_path / "second"), tmp_path / "back")
    assert await buckets_in(tmp_path / "back", buckets) == buckets


# Nothing half restored

MARKS = Marks(-1, -1, 0, 0, 0)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [MARKS],
        [Owner("x.onion"), MARKS],
        [Owner(KEY.address)],
        [Owner(KEY.address), Owner(KEY.address), MARKS],
        [Owner(KEY.address), KeyFile(ServiceKey.from_seed(b"x" * 32).encode().encode()), MARKS],
        [Owner(KEY.address), KeyFile(b"\xff"), MARKS],
    ],
)
async def test_a_backup_that_makes_no_sense_leaves_nothing(records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(BackupUnusable):
        await restore([b"".join(map(encode, records))], tmp_path / "there" / "server")
    assert list((tmp_path / "there").iterdir()) == []


async def test_a_backup_that_is_cut_short_leaves_nothing(places: Places, tmp_path: Path) -> None:
    await fill(places, 10 * BUCKET_ENTRIES)
    await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    os.truncate(tmp_path / "backup", (tmp_path / "backup").stat().st_size - 1)
    (tmp_path / "there").mkdir()
    with (tmp_path / "backup").open("rb") as file, pytest.raises(BackupUnusable):
        await restore(opened(file, PASSPHRASE), tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
    assert {file.name for file in tmp_path.iterdir()} == {"backup", "server", "there"}


async def test_nothing_is_overwritten(places: Places, tmp_path: Path) -> None:
    await fill(places, 1)
    await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    before = {file: file.read_bytes() for file in places.state_directory.iterdir()}
    with pytest.raises(SettingsError, match="is not empty"):
        await restore(unseal(tmp_path / "backup"), places.state_directory)
    assert {file: file.read_bytes() for file in places.state_directory.iterdir()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_for_root_it_belongs_to_whom_the_directory_above_belongs(places: Places, tmp_path: Path) -> None:
    await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    above = tmp_path / "above"
    above.mkdir()
    os.chown(above, 4711, 4712)
    beside: list[Path] = []

    def watched() -> Iterator[bytes]:
        yield from unseal(tmp_path / "backup")
        beside.extend(above.iterdir())

    await restore(watched(), above / "server")
    assert beside == [], "nothing is made where somebody else could change it"
    statuses = [file.stat() for file in (above / "server", *(above / "server").iterdir())]
    assert {(status.st_uid, status.st_gid) for status in statuses} == {(4711, 4712)}
    assert {file.name for file in tmp_path.iterdir()} == {"above", "backup", "server"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
async def test_a_restore_that_is_ended_in_the_middle_leaves_nothing(
    how: signal.Signals, places: Places, tmp_path: Path
) -> None:
    await fill(places, 1)
    await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    above = tmp_path / "above"
    above.mkdir()
    os.mkfifo(tmp_path / "fifo")  # it reads the backup up to here and then waits for more
    words = ("restore", "fifo", "--state-dir", "above", "--passphrase-file", "passphrase")
    process = await asyncio.create_subprocess_exec(*COMMAND, *words, cwd=tmp_path, env=environment(tmp_path))
    with await asyncio.to_thread((tmp_path / "fifo").open, "wb") as fifo:
        fifo.write((tmp_path / "backup").read_bytes()[:-1])
        fifo.flush()
        await until(lambda: any(above.glob(".server.*")))
        process.send_signal(how)
        assert await process.wait() == 128 + how
    assert list(above.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_backup_that_is_ended_in_the_middle_leaves_the_older_one(
    how: signal.Signals, places: Places, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    buckets = await fill(places, 10 * BUCKET_ENTRIES)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    above = tmp_path / "above"
    above.mkdir()
    (above / "backup").write_bytes(b"older")
    is_given, goes_on, is_over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncGenerator[Record]:
        try:
            async with aclosing(stopped_server(places)) as records:
                async for record in records:
                    if isinstance(record, Marks):  # the last one
                        is_given.set()
                        await goes_on.wait()
                    yield record
        finally:
            is_over.set()

    words = ("backup", "above/backup", "--admin-socket", "socket", "--passphrase-file", "passphrase")
    face = AdminFace(backup_routes(slowly))
    await face.start(tmp_path / "socket", 0o600)
    try:
        process = await asyncio.create_subprocess_exec(*COMMAND, *words, cwd=tmp_path, env=environment(tmp_path))
        async with asyncio.timeout(60):
            await is_given.wait()
        await until(lambda: any(file.stat().st_size for file in above.glob(".backup.*")))
        process.send_signal(how)
        assert await process.wait() == 128 + how
        assert [file.name for file in above.iterdir()] == ["backup"]
        assert (above / "backup").read_bytes() == b"older"
        goes_on.set()
        await is_over.wait()  # one can read the file of a stopped server at a time
        made = await write_backup(read_records(AdminClient(tmp_path / "socket")), above / "backup", PASSPHRASE)
        assert made.buckets == len(set(buckets)), "the server gives another one"
        assert caplog.messages == [], "that somebody wants no more is no fault"
    finally:
        await face.stop()


async def test_what_has_expired_leaves_a_restored_store_too(places: Places, tmp_path: Path) -> None:
    buckets = await fill(places, 2 * BUCKET_ENTRIES)
    await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    there = tmp_path / "there"
    await restore(unseal(tmp_path / "backup"), there)
    assert all(bucket[:64] in everything_in(there) for bucket in buckets.values())
    store = await SqliteStore.open(there / STORE_FILE, ONION_KEY, clock=lambda: time.time() + DEFAULT_LIFETIME + 1)
    await until(lambda: not any(bucket[:64] in everything_in(there) for bucket in buckets.values()))
    assert not any(link in everything_in(there) for link in buckets)
    await store.close()


async def test_what_a_backup_is_written_into_shows_nothing_at_any_time(places: Places, tmp_path: Path) -> None:
    buckets = await fill(places, 10 * BUCKET_ENTRIES)
    where = tmp_path / "where"
    where.mkdir()
    seen = b""

    async def watched() -> AsyncIterator[Record]:
        nonlocal seen
        async for record in stopped_server(places):
            yield record
            seen += everything_in(where)

    await write_backup(watched(), where / "backup", PASSPHRASE)
    seen += everything_in(where)
    assert len(seen) > 10 * BUCKET_SIZE
    assert not any(link in seen or bucket[:64] in seen for link, bucket in buckets.items())


def everything_in(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


# Making one


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read what is another user's")
async def test_root_leaves_nothing_of_its_own_with_a_stopped_server(places: Places, tmp_path: Path) -> None:
    await fill(places, 1)
    state = places.state_directory
    before = {file.name for file in state.iterdir()}
    for each in (state, *state.iterdir()):
        os.chown(each, 4711, 4712)
    made = await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)
    assert (made.buckets, made.has_key, made.has_clients) == (1, True, True)
    assert {file.name for file in state.iterdir()} == before
    assert {file.stat().st_uid for file in state.iterdir()} == {4711}


async def test_an_older_backup_stays_when_a_new_one_fails(places: Places, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_bytes(b"older")

    async def part() -> AsyncIterator[Record]:
        yield Owner(KEY.address)

    with pytest.raises(BackupUnusable, match="only a part"):
        await write_backup(part(), path, PASSPHRASE)
    assert path.read_bytes() == b"older"
    assert {file.name for file in tmp_path.iterdir()} == {"backup", "server"}
    with pytest.raises(BackupUnusable, match="cannot be written"):
        await write_backup(stopped_server(places), tmp_path / "nowhere" / "backup", PASSPHRASE)


async def test_a_server_that_breaks_off_is_noticed(places: Places, tmp_path: Path) -> None:
    async def broken() -> AsyncGenerator[Record]:
        yield Owner(KEY.address)
        raise StoreError("no disk")

    face = AdminFace(backup_routes(broken))
    await face.start(tmp_path / "socket", 0o600)
    try:
        with pytest.raises(ReplyLost):
            await write_backup(read_records(AdminClient(tmp_path / "socket")), tmp_path / "backup", PASSPHRASE)
    finally:
        await face.stop()
    assert not (tmp_path / "backup").exists()


async def test_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(NoServerHere, match="none has left a key"):
        await write_backup(stopped_server(Places(tmp_path)), tmp_path / "backup", PASSPHRASE)
    assert list(tmp_path.iterdir()) == []


async def test_a_store_in_use_is_not_read_behind_the_servers_back(places: Places, tmp_path: Path) -> None:
    async with administered(places, tmp_path):
        with pytest.raises(StoreError, match="another server is running"):
            await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)


@pytest.mark.parametrize("name", [KEY_FILE, CLIENTS_FILE, STORE_FILE])
async def test_root_is_not_led_to_other_files(name: str, places: Places, tmp_path: Path) -> None:
    await fill(places, 1)
    (places.state_directory / name).rename(tmp_path / "secret")
    (places.state_directory / name).symlink_to(tmp_path / "secret")
    with pytest.raises(SettingsError, match="no file of the server's own"):
        await write_backup(stopped_server(places), tmp_path / "backup", PASSPHRASE)


async def test_a_key_that_tor_keeps(places: Places, tmp_path: Path) -> None:
    """The server may not read it, root may."""
    (places.state_directory / KEY_FILE).unlink()
    directory = tmp_path / "tor"
    directory.mkdir()
    (directory / "hostname").write_text(KEY.address + "\n")
    tors = Places(places.state_directory, directory)
    without = await write_backup(stopped_server(tors), tmp_path / "backup", PASSPHRASE)
    assert (without.address, without.has_key) == (KEY.address, False)

    prefix = b"== ed25519v1-secret: type0 ==\0\0\0"
    (directory / "hs_ed25519_secret_key").write_bytes(prefix + ServiceKey.from_seed(b"x" * 32).expanded)
    assert not (await write_backup(stopped_server(tors), tmp_path / "backup", PASSPHRASE)).has_key
    (directory / "hs_ed25519_secret_key").write_bytes(prefix + KEY.expanded)
    assert (await write_backup(stopped_server(tors), tmp_path / "backup", PASSPHRASE)).has_key
    added = with_tors_key(stopped_server(Places(places.state_directory, tmp_path)), tors)
    with pytest.raises(NoServerHere):
        await write_backup(added, tmp_path / "other", PASSPHRASE)
    (tmp_path / "hostname").write_text(KEY.address)
    added = with_tors_key(stopped_server(Places(places.state_directory, tmp_path)), tors)
    assert (await write_backup(added, tmp_path / "other", PASSPHRASE)).has_key
    await restore(unseal(tmp_path / "other"), tmp_path / "there")
    assert load_or_create(tmp_path / "there" / KEY_FILE) == KEY
