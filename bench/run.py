"""All measurements: one table, and ``bench/results.json`` for programs. A few minutes and loopback are enough."""

from __future__ import annotations

import sys
from pathlib import Path

import blocks
import client
import flood
import server
import store_kinds
from rows import show, write

if __name__ == "__main__":
    measured, told = server.measure(directory=Path.cwd())
    of_stores, told_of_stores = store_kinds.measure(directory=Path.cwd())
    of_floods, told_of_floods = flood.measure()
    rows = [*client.measure(), *blocks.measure(), *measured, *of_stores, *of_floods]
    show(rows)
    print(*told, *told_of_stores, *told_of_floods, sep="\n")
    write(rows, Path(__file__).parent / "results.json")
    sys.exit(not all(row.holds for row in rows))
