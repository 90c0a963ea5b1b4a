"""The server that is measured: a store in a directory, and its web face on a Unix socket in it."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from onion_rdv.rendezvous.cache import DEFAULT_CACHED_BUCKETS
from onion_rdv.rendezvous.opening import open_store
from onion_rdv.rendezvous.rules import NO_CEILING, Rules
from onion_rdv.rendezvous.web import WebFace

ONION_KEY = bytes(32)


async def serve(directory: Path, database: str | None, cached_buckets: int, onion_key: bytes) -> None:
    rules = Rules(ceiling=NO_CEILING)
    store = await open_store(database, directory, onion_key, rules, cached_buckets=cached_buckets)
    await WebFace(store).start(directory / "socket", 0o600)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--database", help="the URL of a PostgreSQL database, in place of a file in the directory")
    parser.add_argument("--cached-buckets", type=int, default=DEFAULT_CACHED_BUCKETS)
    parser.add_argument("--onion-key", type=bytes.fromhex, default=ONION_KEY, help="in hexadecimal")
    options = parser.parse_args()
    asyncio.run(serve(options.directory, options.database, options.cached_buckets, options.onion_key))


if __name__ == "__main__":
    main()
