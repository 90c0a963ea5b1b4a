"""All measurements: one table, and ``bench/results.json`` for programs, in less than ten minutes on loopback."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import blocks
import client
import flood
import server
import store_kinds
from rows import show, write

PARTS = (
    client.measure,
    blocks.measure,
    partial(server.measure, directory=Path.cwd()),
    partial(store_kinds.measure, directory=Path.cwd()),
    flood.measure,
)

if __name__ == "__main__":
    measured = [part() for part in PARTS]
    rows = [row for part in measured for row in part.rows]
    show(rows)
    print(*(line for part in measured for line in part.told), sep="\n")
    write(rows, Path(__file__).parent / "results.json")
    sys.exit(not all(row.holds for row in rows))
