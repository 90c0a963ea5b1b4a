"""Clients that mean no good, by the thousand, and honest ones beside them, on the real server as a process."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import hostile_clients
import pytest
from command_line import environment
from offline_server import OfflineServer, serving_offline
from offline_tor import COOKIE, offline_tor
from smp_server import Client, TestQueue, make_link
from stores import until

from onion_rdv.protocol import ENTRY_SIZE, bucket_link, decode_onion_address
from onion_rdv.protocol.bucket import entries
from onion_rdv.smp.server.certificates import load_identity
from onion_rdv.smp.wire.commands import LinkData, Mode
from onion_rdv.smp.wire.replies import Ok
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONNECTIONS = 2000
HONEST = 15
"""Times that somebody stores an entry and fetches it."""

GROWTH = 96 * 1024
"""KiB that all these connections may cost the server: less than 50 for each."""

MESSAGING_GROWTH = 192 * 1024
"""The same for a messaging server, where each has TLS: less than 100 for each."""

FEW = 100
"""Connections that a small server takes."""


@asynccontextmanager
async def server_with(tmp_path: Path, *options: str, **how: Any) -> AsyncIterator[OfflineServer]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        env = environment(tmp_path, ONION_RDV_CONTROL=tor.control)
        async with serving_offline(state, *options, env=env, **how) as server:
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
        before = server.memory
        async with misbehaving(server, *kinds, connections=CONNECTIONS):
            for _ in range(HONEST):
                await store_and_fetch(server, key)
            assert server.memory - before < GROWTH
        # They are gone, and nothing of them is left but what the allocator keeps.
        await until(lambda: server.open_files < FEW)
        await store_and_fetch(server, key)
        assert server.memory - before < GROWTH
    assert not [line for line in server.said if "fault" in line]


async def test_there_are_never_more_connections_than_are_allowed(tmp_path: Path) -> None:
    async with server_with(tmp_path, "--max-connections", str(FEW)) as server:
        key = onion_key_of(server)
        others = server.open_files
        async with misbehaving(server, "silent", "slow_body", connections=CONNECTIONS):
            for _ in range(20):
                # Those that are too many are there for the moment in which they are told so, 100 at a time.
                assert server.open_files - others < 5 * FEW
                with suppress(ConnectionError):  # it may be closed before this one has said anything
                    status, _ = await server.ask("/v1/fetch", bytes(256))
                    assert status in {404, 503}
        await until(lambda: server.open_files < others + 10)
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


# The messaging server


@asynccontextmanager
async def messaging_server_with(tmp_path: Path, *options: str) -> AsyncIterator[OfflineServer]:
    words, listens = ("messaging", "serve"), "messaging/smp.socket"
    async with server_with(tmp_path, *options, words=words, listens=listens) as server:
        yield server


@asynccontextmanager
async def connected(server: OfflineServer) -> AsyncIterator[Client]:
    client = await Client.connect(server.socket, key_hash=load_identity(server.socket.parent).fingerprint)
    try:
        yield client
    finally:
        await client.close()


async def send_and_receive(queue: TestQueue, recipient: Client, sender: Client) -> None:
    body = secrets.token_bytes(100)
    assert await queue.send(sender, body) == Ok()
    assert await queue.hear(recipient) == body


@pytest.mark.parametrize(
    ("kinds", "connections"),
    [(("silent", "slow_head"), CONNECTIONS), (("wrong", "hasty"), CONNECTIONS // 10)],  # these come again at once
    ids=["slow", "wrong"],
)
async def test_messages_go_on_beside_many_others(tmp_path: Path, kinds: tuple[str, ...], connections: int) -> None:
    async with messaging_server_with(tmp_path) as server, connected(server) as recipient:
        queue = await TestQueue.make(recipient)
        before = server.memory
        async with misbehaving(server, *kinds, connections=connections):
            for _ in range(HONEST):
                async with connected(server) as sender:
                    await send_and_receive(queue, recipient, sender)
            assert server.memory - before < MESSAGING_GROWTH
        await until(lambda: server.open_files < FEW)
        async with connected(server) as sender:
            await send_and_receive(queue, recipient, sender)


async def test_who_asks_for_much_and_takes_nothing_costs_a_messaging_server_little(tmp_path: Path) -> None:
    async with messaging_server_with(tmp_path) as server, connected(server) as recipient:
        queue = await TestQueue.make(recipient)
        data = LinkData(secrets.token_bytes(2048), secrets.token_bytes(13_824))
        await make_link(recipient, Mode.CONTACT, data, hostile_clients.LINK_ID)
        before = server.memory
        async with misbehaving(server, "deaf", connections=CONNECTIONS // 10):
            for _ in range(HONEST):
                async with connected(server) as sender:
                    await send_and_receive(queue, recipient, sender)
            assert server.memory - before < MESSAGING_GROWTH // 2
        await until(lambda: server.open_files < FEW)


async def test_who_is_connected_to_a_messaging_server_goes_on_when_it_is_full(tmp_path: Path) -> None:
    async with messaging_server_with(tmp_path, "--max-connections", str(FEW)) as server:
        others = server.open_files
        async with connected(server) as recipient, connected(server) as sender:
            queue = await TestQueue.make(recipient)
            async with misbehaving(server, "silent", "slow_head", connections=CONNECTIONS):
                for _ in range(HONEST):
                    await send_and_receive(queue, recipient, sender)
                    # Those that are too many are there for the moment in which they are closed, 100 at a time.
                    assert server.open_files - others < 5 * FEW
            await until(lambda: server.open_files - others < 10)
            async with connected(server) as another:
                await send_and_receive(queue, recipient, another)
