"""The most that the store's file can do: one loop that commits groups of entries, with nobody who waits for them.

Settings, statements, what is written and how often the log begins again are the store's own; there are no requests,
no replies and no threads. Prints one JSON object as ``load.py`` does: ``answered`` entries in ``seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from rendezvous import ONION_KEY

from onion_rdv.protocol import ENTRY_SIZE
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.rendezvous.rules import NO_CEILING
from onion_rdv.rendezvous.sqlite_file import StoreFile

if TYPE_CHECKING:
    from onion_rdv.rendezvous.filling import FillingBucket


def commit(file: StoreFile, filling: FillingBucket | None, entries: list[bytes]) -> FillingBucket | None:
    """Store entries in one transaction; gives the bucket that is open then."""
    with file.transaction():
        while entries:
            filling = filling or file.open_bucket(int(time.time()), NO_CEILING, SystemRandom())
            here, entries = entries[: filling.room], entries[filling.room :]
            for entry in here:
                filling.put(entry)
            file.write(filling, filling.content())
            if not filling.room:
                file.close_bucket()
                filling = None
    if file.is_log_long:
        file.rewind()
    return filling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--connections", type=int, help="entries in a group, one of each")
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    file = StoreFile.open(options.directory / STORE_FILE, ONION_KEY)
    entries = [os.urandom(ENTRY_SIZE) for _ in range(options.connections)]
    filling = commit(file, None, entries)
    answered = 0
    start = now = time.perf_counter()
    while now < start + options.seconds:
        filling = commit(file, filling, entries)
        answered += len(entries)
        now = time.perf_counter()
    file.close()
    print(json.dumps({"answered": answered, "seconds": now - start}))


if __name__ == "__main__":
    main()
