"""A messaging server killed in the middle of its work: what it had said OK to holds."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from smp_server import Client, TestQueue, running

from onion_rdv.smp.wire.replies import Err, Msg, Ok

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.smp.wire.replies import Reply

PEOPLE = 6
ROUNDS = 5

SERVER = """
import asyncio, sys
from pathlib import Path
from onion_rdv.smp.server.face import MessagingFace
from onion_rdv.smp.server.house import House
from onion_rdv.smp.server.queue_store import QueueStore

async def main(directory):
    store = await QueueStore.open(directory / "queues.sqlite")
    face = await MessagingFace.at_home(House(store), directory)
    await face.start(directory / "smp", 0o600)
    print(face.fingerprint.hex(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


class Person:
    """Sends to a queue of their own, and gets some of it back; remembers what the server acknowledged."""

    def __init__(self) -> None:
        self.queue: TestQueue | None = None
        self.sent: list[bytes] = []  # acknowledged, and not acknowledged by us as arrived
        self.doubtful: set[bytes] = set()  # asked for, and the answer did not come
        self.done = 0

    async def run(self, path: Path, key_hash: bytes) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            client = await Client.connect(path, key_hash=key_hash)
            try:
                await self.go_on(client)
            finally:
                await client.close()

    async def go_on(self, client: Client) -> None:
        if self.queue is None:
            self.queue = await TestQueue.make(client, subscribe=False)
        while True:
            await self.send(client, self.queue)
            if random.random() < 0.5:
                await self.get(client, self.queue)

    async def send(self, client: Client, queue: TestQueue) -> None:
        body = secrets.token_bytes(100)
        self.doubtful.add(body)
        reply = await queue.send(client, body)
        self.doubtful.remove(body)
        if reply == Ok():
            self.sent.append(body)
            self.done += 1
        else:
            assert reply == Err("QUOTA")

    async def get(self, client: Client, queue: TestQueue) -> None:
        reply = await queue.get(client)
        body = self.expect(reply)
        if body is not None:
            self.doubtful.add(body)
            assert await queue.acknowledge(client, reply) == Ok()
            self.doubtful.discard(body)
            self.done += 1

    def expect(self, reply: Reply) -> bytes | None:
        """See that what comes is what must come next."""
        assert self.queue is not None
        if reply == Ok():
            assert not self.sent
            return None
        body = self.queue.open(reply)
        if body is None:
            return None
        if self.sent and body == self.sent[0]:
            self.sent.pop(0)
        else:
            assert body in self.doubtful
        return body


@pytest.mark.timeout(120)
async def test_killed_at_any_moment_it_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    people = [Person() for _ in range(PEOPLE)]
    for _ in range(ROUNDS):
        before = sum(person.done for person in people)
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        key_hash = bytes.fromhex((await server.stdout.readline()).decode())
        running_people = [asyncio.create_task(person.run(tmp_path / "smp", key_hash)) for person in people]
        enough = before + random.randrange(10, 200)
        while sum(person.done for person in people) < enough:
            await asyncio.sleep(0.001)
        await asyncio.sleep(random.random() / 100)  # into the middle of the next
        server.send_signal(signal.SIGKILL)
        await server.wait()
        await asyncio.gather(*running_people)

    async with running(tmp_path) as server_again:
        assert server_again.face.fingerprint == key_hash
        for person in people:
            client = await server_again.connect()
            assert person.queue is not None
            reply = await person.queue.get(client)
            while isinstance(reply, Msg):
                person.expect(reply)
                assert await person.queue.acknowledge(client, reply) == Ok()
                reply = await person.queue.get(client)
            assert reply == Ok()
            assert not person.sent
            await client.close()
        assert await server_again.store.count() <= PEOPLE + ROUNDS * PEOPLE
