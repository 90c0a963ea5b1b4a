"""Run a program, and note its calls of Argon2id in a file: for each a line of JSON, [KiB, begin, end].

``python observed.py NOTES -m MODULE ...`` or ``python observed.py NOTES SCRIPT ...``; the times are time.monotonic's.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from argon2 import low_level


def note_calls(path: Path) -> None:
    """Have every call noted that is made by what is imported from now on."""
    call = low_level.hash_secret_raw
    notes = path.open("a", buffering=1)  # for as long as the program runs

    def noted(secret: bytes, salt: bytes, time_cost: int, memory_cost: int, *more: Any, **named: Any) -> bytes:
        begun = time.monotonic()
        try:
            return call(secret, salt, time_cost, memory_cost, *more, **named)
        finally:
            notes.write(json.dumps([memory_cost, begun, time.monotonic()]) + "\n")

    low_level.hash_secret_raw = noted


if __name__ == "__main__":
    note_calls(Path(sys.argv[1]))
    del sys.argv[:2]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
