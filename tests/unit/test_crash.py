"""Servers killed in the middle of their work: what they acknowledged is there, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY
from storing_clients import Clients

from onion_rdv.protocol import BUCKET_ENTRIES, BucketId, bucket_link
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.opening import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer

CONNECTIONS = 8
ROUNDS = {"one on SQLite": 200, "two on PostgreSQL": 25}

# What takes longest in a start of Python is done once: each line on stdin makes it fork a server, which says its
# process id; and "ended" is said when that has been killed.
SERVER = """
import asyncio, os, sys
from pathlib import Path
from onion_rdv.rendezvous import postgres, sqlite
from onion_rdv.rendezvous.opening import open_store
from onion_rdv.rendezvous.rules import NO_CEILING, Rules
from onion_rdv.rendezvous.web import WebFace

async def main(directory, socket, database):
    store = await open_store(database or None, directory, bytes(range(32)), Rules(window=2, ceiling=NO_CEILING))
    await WebFace(store).start(socket, 0o600)
    print(os.getpid(), flush=True)
    await asyncio.Event().wait()

for line in sys.stdin:
    if child := os.fork():
        os.waitpid(child, 0)
        print("ended", flush=True)
    else:
        asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
"""


class Server:
    """A server that clients store at; they end when it does."""

    def __init__(self, directory: Path, database: str | None, number: int) -> None:
        self._arguments = [str(directory), str(directory / f"socket{number}"), database or ""]
        self.clients = Clients(directory / f"socket{number}")
        self._storing: list[asyncio.Task[None]] = []
        self._pid = 0
        self._forking: asyncio.subprocess.Process

    async def start(self) -> None:
        if not self._pid:
            self._forking = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                SERVER,
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        assert self._forking.stdin is not None
        self._forking.stdin.write(b"start\n")
        self._pid = int(await self._heard())
        self._storing = [asyncio.create_task(self.clients.run()) for _ in range(CONNECTIONS)]

    async def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        assert await self._heard() == b"ended\n"
        await asyncio.gather(*self._storing)

    async def end(self) -> None:
        assert self._forking.stdin is not None
        self._forking.stdin.close()
        assert await self._forking.wait() == 0

    async def _heard(self) -> bytes:
        assert self._forking.stdout is not None
        return await self._forking.stdout.readline()


async def store_and_kill(servers: list[Server], rounds: int) -> None:
    """Kill one server after the other, at any moment, while the others go on."""
    for server in servers:
        await server.start()
    for number in range(rounds):
        server = servers[number % len(servers)]
        enough = len(server.clients.acknowledged) + random.randrange(1, BUCKET_ENTRIES)
        while len(server.clients.acknowledged) < enough:
            await asyncio.sleep(0)
        await asyncio.sleep(random.random() / 500)  # into the middle of the next
        await server.kill()
        await server.start()
    for server in servers:
        await server.kill()
        await server.end()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ROUNDS)
async def test_killed_at_any_moment_they_keep_what_they_acknowledged(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database, count = None, 1
    if kind == "two on PostgreSQL":
        server: PostgresServer = request.getfixturevalue("postgres")
        database, count = await server.make_database(), 2
    servers = [Server(tmp_path, database, number) for number in range(count)]
    await store_and_kill(servers, ROUNDS[kind])

    acknowledged = {entry: where for server in servers for entry, where in server.clients.acknowledged.items()}
    sent = {entry for server in servers for entry in server.clients.sent}
    store = await open_store(database, tmp_path, ONION_KEY)
    kept: dict[BucketId, list[bytes]] = {}
    for bucket_id in sorted(set(acknowledged.values())):
        bucket = await store.fetch(bucket_link(bucket_id, ONION_KEY))
        assert bucket is not None
        kept[bucket_id] = entries(bucket)
    totals = await store.totals()
    await store.close()
    assert totals.opened == totals.buckets >= len(kept), "a bucket was forgotten in the count, or counted twice"
    everywhere = Counter(entry for held in kept.values() for entry in held)
    assert len(acknowledged) >= ROUNDS[kind]
    assert len(sent) > len(acknowledged)  # some were cut off
    for entry, bucket_id in acknowledged.items():
        assert kept[bucket_id].count(entry) == 1
        assert everywhere[entry] == 1
    assert max(everywhere[entry] for entry in sent) == 1
