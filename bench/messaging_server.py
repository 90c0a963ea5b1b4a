"""The embedded messaging server that is measured: a store in a directory, and its face on a Unix socket in it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from onion_rdv.smp.server.face import MessagingFace
from onion_rdv.smp.server.house import House
from onion_rdv.smp.server.queue_store import QueueStore


async def main(directory: Path) -> None:
    store = await QueueStore.open(directory / "queues.db")
    face = await MessagingFace.at_home(House(store), directory)
    await face.start(directory / "socket", 0o600)
    (directory / "fingerprint").write_bytes(face.fingerprint)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
