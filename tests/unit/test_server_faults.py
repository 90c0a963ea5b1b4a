"""What an operator can meet, on the real server as a process: what it says, what it keeps, and that it goes on."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import environment, onion_rdv
from offline_server import OfflineServer, on_a_read_only_disk, on_a_small_disk, serving_offline
from offline_tor import COOKIE, offline_tor

from onion_rdv.protocol import BUCKET_ENTRIES, ENTRY_SIZE, BucketId, bucket_link, decode_onion_address
from onion_rdv.protocol.bucket import entries
from onion_rdv.protocol.exchange import REPLY_SIZE
from onion_rdv.rendezvous.admin.client import ADMIN_SOCKET
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86400
NO_NAMESPACES = subprocess.run(
    [*on_a_small_disk(Path("/tmp"), "1m"), "true"], capture_output=True, check=False
).returncode
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with offline_tor(tmp_path_factory.mktemp("tor"), COOKIE) as tor:
        yield tor.control


@pytest.fixture
def env(control: str, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, ONION_RDV_CONTROL=control)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state"


async def store_one(server: OfflineServer) -> tuple[bytes, BucketId | None]:
    entry = secrets.token_bytes(ENTRY_SIZE)
    return entry, await server.store(entry)


async def kept(server: OfflineServer, directory: Path, acknowledged: dict[bytes, BucketId]) -> bool:
    """Whether everything acknowledged is in its bucket once."""
    onion_key = decode_onion_address((directory / KEY_FILE).read_text().split("\n")[1])
    buckets = {}
    for bucket_id in {*acknowledged.values()}:
        buckets[bucket_id] = entries(await server.fetch(bucket_link(bucket_id, onion_key)) or b"")
    return all(buckets[bucket_id].count(entry) == 1 for entry, bucket_id in acknowledged.items())


# The disk


@pytest.mark.skipif(NO_NAMESPACES != 0, reason="this user may not mount anything, not even for itself")
async def test_a_full_disk_is_named_and_with_room_again_the_server_goes_on(env: dict[str, str], state: Path) -> None:
    fill = ("sh", "-c", 'head -c 800k /dev/zero >"$0/ballast" && exec "$@"', str(state))
    async with serving_offline(state, env=env, wrapper=(*on_a_small_disk(state, "1m"), *fill)) as server:
        seen = Path(f"/proc/{server.process.pid}/root{state}")  # for that file system is the process's alone
        server.socket = seen / "server" / "web.socket"
        acknowledged: dict[bytes, BucketId] = {}
        turned_away = 0
        while turned_away < 3:
            entry, bucket_id = await store_one(server)
            turned_away += bucket_id is None
            if bucket_id is not None:
                acknowledged[entry] = bucket_id
        assert acknowledged
        await server.wait_for("there is no space left for")
        assert await kept(server, seen / "server", acknowledged)
        (seen / "ballast").unlink()
        for _ in range(5):
            entry, bucket_id = await store_one(server)
            assert bucket_id is not None
            acknowledged[entry] = bucket_id
        assert await kept(server, seen / "server", acknowledged)
    complaints = [line for line in server.said if "no space left" in line]
    assert len(complaints) == 1, "once a minute is enough"
    assert "free some space on that disk; the server goes on by itself" in complaints[0]


@pytest.mark.skipif(NO_NAMESPACES != 0, reason="this user may not mount anything, not even for itself")
async def test_state_that_cannot_be_written(env: dict[str, str], state: Path) -> None:
    async with serving_offline(state, env=env) as server:
        assert (await store_one(server))[1] is not None
    result = await onion_rdv("serve", "--state-dir", str(state), env=env, wrapper=on_a_read_only_disk(state))
    assert (result.code, result.stdout) == (9, ""), "systemd tries it again"
    assert f"the state directory {state}/server: Read-only file system" in result.stderr
    assert "mounted read-only" in result.stderr


@pytest.mark.skipif(NO_NAMESPACES != 0, reason="this user may not mount anything, not even for itself")
@pytest.mark.parametrize(
    ("command", "key"), [("serve", f"server/{KEY_FILE}"), ("messaging serve", f"messaging/{KEY_FILE}")]
)
async def test_a_first_start_on_a_full_disk(env: dict[str, str], state: Path, command: str, key: str) -> None:
    fill = ("sh", "-c", 'head -c 2m /dev/zero >"$0/ballast" 2>/dev/null; exec "$@"', str(state))
    wrapper = (*on_a_small_disk(state, "1m"), *fill)
    result = await onion_rdv(*command.split(), "--state-dir", str(state), env=env, wrapper=wrapper)
    assert (result.code, result.stdout) == (9, ""), "systemd tries it again"
    assert f"{state}/{key}: No space left on device" in result.stderr


@pytest.mark.skipif(NO_NAMESPACES != 0, reason="this user may not mount anything, not even for itself")
@pytest.mark.parametrize(
    ("files", "too_many"), [(1, "the state directory"), (3, KEY_FILE), (6, ADMIN_SOCKET)], ids=str
)
async def test_a_disk_that_takes_no_more_files(env: dict[str, str], state: Path, files: int, too_many: str) -> None:
    wrapper = on_a_small_disk(state, f"1m,nr_inodes={files}")
    result = await onion_rdv("serve", "--state-dir", str(state), env=env, wrapper=wrapper)
    assert (result.code, result.stdout) == (9, ""), "systemd tries it again"
    assert too_many in result.stderr
    assert "No space left on device" in result.stderr


# The store


async def refused(env: dict[str, str], state: Path, says: str, cure: str) -> None:
    """See that the server does not start, says why and what to do, and leaves the store as it is."""
    file = state / "server" / STORE_FILE
    before = file.read_bytes(), file.stat().st_mtime_ns
    result = await onion_rdv("serve", "--state-dir", str(state), env=env)
    assert (result.code, result.stdout) == (9, "")
    assert says in result.stderr
    assert cure in result.stderr.splitlines()[-1]
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


async def test_a_store_that_a_newer_version_has_written_or_that_is_damaged(env: dict[str, str], state: Path) -> None:
    async with serving_offline(state, env=env) as server:
        assert (await store_one(server))[1] is not None
    file = state / "server" / STORE_FILE
    with closing(sqlite3.connect(file)) as sql:
        sql.execute("PRAGMA user_version = 999")
    await refused(env, state, "written by a newer onion-rdv", "run the newer onion-rdv")
    file.write_bytes(b"\xff" * 8192)
    await refused(env, state, "is damaged, or it is no database", "put a backup back")


# The clock


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
async def test_a_clock_that_is_set_by_a_day(env: dict[str, str], state: Path, tmp_path: Path) -> None:
    offset = tmp_path / "offset"

    def set_clock(to: str) -> None:  # the file is read at every look at the clock, and must not be found empty
        (tmp_path / "next").write_text(to)
        (tmp_path / "next").replace(offset)

    set_clock("+0")
    env = env | {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    acknowledged: dict[bytes, BucketId] = {}

    async def store_and_look(server: OfflineServer) -> BucketId:
        entry, bucket_id = await store_one(server)
        assert bucket_id is not None
        assert bucket_id not in acknowledged.values()
        acknowledged[entry] = bucket_id
        assert await kept(server, state / "server", acknowledged)
        return bucket_id

    async with serving_offline(state, env=env) as server:
        first = await store_and_look(server)
        set_clock("-1d")
        await server.wait_for("the clock was set back by 86400 seconds")
        assert -DAY <= (await store_and_look(server)).created_at - first.created_at < 60 - DAY
        set_clock("+1d")
        await server.wait_for("the clock was set forward by 172800 seconds")
        assert DAY <= (await store_and_look(server)).created_at - first.created_at < 60 + DAY
    set_clock("-1d")
    async with serving_offline(state, env=env) as server:
        await server.wait_for("behind the one by which files in")
        await store_and_look(server)
    assert all("timedatectl" in line for line in server.said if "clock" in line)


# The clients


async def test_a_flood_that_would_open_too_many_buckets_is_told_to_wait(env: dict[str, str], state: Path) -> None:
    async with serving_offline(state, "--max-new-buckets", "2", env=env) as server:
        acknowledged = dict([await store_one(server) for _ in range(2 * BUCKET_ENTRIES)])
        assert None not in acknowledged.values()
        for _ in range(3):
            assert (await store_one(server))[1] is None
        kept_ones = {entry: bucket_id for entry, bucket_id in acknowledged.items() if bucket_id is not None}
        assert await kept(server, state / "server", kept_ones)
        await server.wait_for("too many new buckets were opened in a short time: 2 in a minute")
    assert len([line for line in server.said if "raise max_new_buckets" in line]) == 1


async def test_slow_clients_are_cut_off_and_others_are_served(env: dict[str, str], state: Path) -> None:
    head = b"POST /v1/store HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n"
    begun = [b"", head[:30], head + bytes(100)] * 10
    async with serving_offline(state, "--request-timeout", "2", "--max-connections", "31", env=env) as server:
        slow = [await asyncio.open_unix_connection(server.socket) for _ in begun]
        for (_, writer), beginning in zip(slow, begun, strict=True):
            writer.write(beginning)
        acknowledged = dict([await store_one(server)])
        assert None not in acknowledged.values(), "there is one connection left"
        rests = await asyncio.gather(*(reader.read() for reader, _ in slow))
        assert {len(rest) for rest in rests} == {0, REPLY_SIZE}, "who has said what is wanted is told"
        for _, writer in slow:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        assert None not in dict([await store_one(server)]).values()
    assert not any("fault" in line for line in server.said)
