"""Load for the embedded messaging server: messages that go round, over a few connections, as fast as they come.

Each connection has a queue of its own that it sends to and gets messages from; the next message is sent when the one
before has come and was acknowledged. A process of its own. Prints one JSON object: ``answered`` in ``seconds``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path

from onion_rdv.smp.client import SenderQueue, SmpConnection, acknowledge, create_queue, secure, send
from onion_rdv.smp.client import session as sessions
from onion_rdv.smp.client.queues import fresh_key
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.commands import MAX_BODY_SIZE
from onion_rdv.smp.wire.replies import Msg

_TIMEOUT = 60.0


class Round:
    """One connection, and how many messages have gone round on it."""

    def __init__(self) -> None:
        self.messages = 0

    async def run(self, directory: Path, ready: asyncio.Barrier) -> None:
        reader, writer = await asyncio.open_unix_connection(directory / "socket")
        server = SmpServer((directory / "fingerprint").read_bytes(), ("bench.invalid",))
        async with SmpConnection(
            reader, writer, await sessions.begin(reader, writer, server), _TIMEOUT
        ) as connection:
            queue = await create_queue(connection)
            sender = SenderQueue(queue.sender_id, fresh_key())
            await secure(connection, sender)
            body = os.urandom(MAX_BODY_SIZE)  # as long as every envelope is
            await ready.wait()
            while True:
                _, push = await asyncio.gather(send(connection, sender, body), connection.next_push())
                assert isinstance(push.reply, Msg)
                delivery = queue.open(push.reply)
                assert delivery.body == body
                await acknowledge(connection, queue, push.reply.message_id)
                self.messages += 1


async def load(directory: Path, connections: int, seconds: float) -> dict[str, float]:
    rounds = [Round() for _ in range(connections)]
    ready = asyncio.Barrier(connections + 1)
    tasks = [asyncio.create_task(one.run(directory, ready)) for one in rounds]
    async with asyncio.timeout(_TIMEOUT):
        await ready.wait()
    started = time.perf_counter()
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    took = time.perf_counter() - started
    answered = sum(one.messages for one in rounds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        task.result()  # none of them ends by itself
    return {"answered": answered, "seconds": took}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(load(options.directory, options.connections, options.seconds))))


if __name__ == "__main__":
    main()
