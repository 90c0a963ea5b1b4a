"""Run a program, and note its calls of Argon2id in a file: for each a line of JSON, [KiB, begin, end].

``python observed.py NOTES -m MODULE ...`` or ``python observed.py NOTES SCRIPT ...``; the times are time.monotonic's.
"""

from __future__ import annotations

import inspect
import json
import runpy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argon2 import low_level
from nacl import bindings

if TYPE_CHECKING:
    from collections.abc import Callable


def note_calls(path: Path) -> None:
    """Have every call noted that is made by what is imported from now on, whichever library it is of."""
    notes = path.open("a", buffering=1)  # for as long as the program runs

    def noted(call: Callable[..., bytes], memory: str, units_in_a_kib: int) -> Callable[..., bytes]:
        signature = inspect.signature(call)

        def observed(*arguments: Any, **named: Any) -> bytes:
            kib = signature.bind(*arguments, **named).arguments[memory] // units_in_a_kib
            begun = time.monotonic()
            try:
                return call(*arguments, **named)
            finally:
                notes.write(json.dumps([kib, begun, time.monotonic()]) + "\n")

        return observed

    low_level.hash_secret_raw = noted(low_level.hash_secret_raw, "memory_cost", 1)
    bindings.crypto_pwhash_alg = noted(bindings.crypto_pwhash_alg, "memlimit", 1024)


if __name__ == "__main__":
    note_calls(Path(sys.argv[1]))
    del sys.argv[:2]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
