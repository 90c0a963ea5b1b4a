"""Clients that mean no good, by the thousand, and honest ones beside them, on the real server as a process."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hostile_clients
import pytest
from command_line import environment
from offline_server import OfflineServer, serving_offline
from offline_tor import COOKIE, offline_tor
from stores import until

from onion_rdv.protocol import ENTRY_SIZE, bucket_link, decode_onion_address
from onion_rdv.protocol.bucket import entries
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 2000
HONEST = 15
"""Times that somebody stores an entry and fetches it."""

GROWTH = 96 * 1024
"""KiB that all these connections may cost the server: less than 50 for each."""

FEW = 100
"""Connections that a small server takes."""


@asynccontextmanager
async def server_with(tmp_path: Path, *options: str) -> AsyncIterator[OfflineServer]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        env = environment(tmp_path, ONION_RDV_CONTROL=tor.control)
        async with serving_offline(state, *options, env=env) as server:
            yield server


@asynccontextmanager
async def misbehaving(
    server: OfflineServer, *kinds: str, connections: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Have so many clients of these kinds at work while the block runs."""
    command = [
        sys.executable,
        hostile_clients.__file__,
        str(server.socket),
        *kinds,
        "--connections",
        str(connections),
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        yield process
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


def memory(server: OfflineServer) -> int:
    """Give the KiB of memory that a server has (proc(5))."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def open_files(server: OfflineServer) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))  # noqa: PTH208 it is no file that is wanted


async def store_and_fetch(server: OfflineServer, onion_key: bytes) -> None:
    entry = secrets.token_bytes(ENTRY_SIZE)
    bucket_id = await server.store(entry)
    assert bucket_id is not None
    bucket = await server.fetch(await asyncio.to_thread(bucket_link, bucket_id, onion_key))
    assert bucket is not None
    assert entries(bucket).count(entry) == 1


def onion_key_of(server: OfflineServer) -> bytes:
    return decode_onion_address((server.socket.parent / KEY_FILE).read_text().split("\n")[1])


@pytest.mark.parametrize(
    "kinds",
    [("silent", "slow_head", "slow_body"), ("unread",), ("hasty", "pipelined"), ("wrong",)],
    ids=["slow", "deaf", "greedy", "wrong"],
)
async def test_honest_clients_are_served_beside_2000_others(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    async with server_with(tmp_path) as server:
        key = onion_key_of(server)
        await store_and_fetch(server, key)
        before = memory(server)
        async with misbehaving(server, *kinds, connections=CONNECTIONS):
            for _ in range(HONEST):
                await store_and_fetch(server, key)
            assert memory(server) - before < GROWTH
        # They are gone, and nothing of them is left but what the allocator keeps.
        await until(lambda: open_files(server) < FEW)
        await store_and_fetch(server, key)
        assert memory(server) - before < GROWTH
    assert not [line for line in server.said if "fault" in line]


async def test_there_are_never_more_connections_than_are_allowed(tmp_path: Path) -> None:
    async with server_with(tmp_path, "--max-connections", str(FEW)) as server:
        key = onion_key_of(server)
        others = open_files(server)
        async with misbehaving(server, "silent", "slow_body", connections=CONNECTIONS):
            for _ in range(20):
                # Those that are too many are there for the moment in which they are told so, 100 at a time.
                assert open_files(server) - others < 5 * FEW
                with suppress(ConnectionError):  # it may be closed before this one has said anything
                    status, _ = await server.ask("/v1/fetch", bytes(256))
                    assert status in {404, 503}
        await until(lambda: open_files(server) < others + 10)
        await store_and_fetch(server, key)


async def test_a_thousand_streams_can_wait_for_a_server_that_is_busy(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        server.process.send_signal(signal.SIGSTOP)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(1000)]
        for one in waiting:
            one.setblocking(False)
            one.connect(str(server.socket))  # as tor does it, which gives up a stream that finds no room
        server.process.send_signal(signal.SIGCONT)
        await store_and_fetch(server, onion_key_of(server))
        for one in waiting:
            one.close()
