"""A server killed in the middle of its work: what it acknowledged is there, once."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY

from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, ENTRY_SIZE, BucketId, bucket_link
from onion_rdv.protocol.bucket import entries
from onion_rdv.protocol.exchange import REPLY_SIZE
from onion_rdv.rendezvous.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS = 8
ROUNDS = 6

SERVER = """
import asyncio, sys
from pathlib import Path
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.rules import NO_CEILING, Rules
from onion_rdv.rendezvous.web import WebFace

async def main(directory):
    store = await SqliteStore.open(directory / "store.db", bytes(range(32)), Rules(window=2, ceiling=NO_CEILING))
    await WebFace(store).start(directory / "socket", 0o600)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


class Clients:
    """Store on several connections at once, and remember what was acknowledged and into which bucket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.acknowledged: dict[bytes, BucketId] = {}
        self.sent: set[bytes] = set()

    async def run(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_unix_connection(self._socket)
            try:
                while True:
                    await self._store(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _store(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        entry = secrets.token_bytes(ENTRY_SIZE)
        self.sent.add(entry)
        writer.write(b"POST /v1/store HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n" + entry)
        reply = await reader.readexactly(REPLY_SIZE)
        assert reply.startswith(b"HTTP/1.1 201 ")
        assert entries(reply[-BUCKET_SIZE:]).count(entry) == 1
        self.acknowledged[entry] = BucketId.decode(reply[-BUCKET_SIZE - 12 : -BUCKET_SIZE])


@pytest.mark.timeout(120)
async def test_killed_at_any_moment_it_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    clients = Clients(tmp_path / "socket")
    for _ in range(ROUNDS):
        before = len(clients.acknowledged)
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        assert await server.stdout.readline() == b"ready\n"
        storing = [asyncio.create_task(clients.run()) for _ in range(CONNECTIONS)]
        enough = before + random.randrange(1, 5 * BUCKET_ENTRIES)
        while len(clients.acknowledged) < enough:
            await asyncio.sleep(0)
        await asyncio.sleep(random.random() / 500)  # into the middle of the next
        server.send_signal(signal.SIGKILL)
        await server.wait()
        await asyncio.gather(*storing)

    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY)
    kept: dict[BucketId, list[bytes]] = {}
    for bucket_id in sorted(set(clients.acknowledged.values())):
        bucket = await store.fetch(bucket_link(bucket_id, ONION_KEY))
        assert bucket is not None
        kept[bucket_id] = entries(bucket)
    await store.close()
    everywhere = [entry for held in kept.values() for entry in held]
    assert len(clients.acknowledged) >= ROUNDS
    assert len(clients.sent) > len(clients.acknowledged)  # some were cut off
    for entry, bucket_id in clients.acknowledged.items():
        assert kept[bucket_id].count(entry) == 1
        assert everywhere.count(entry) == 1
    assert max(everywhere.count(entry) for entry in clients.sent) == 1
