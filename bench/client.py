"""What a person's program does itself, beside what it cannot do without.

``accept``: everything but the network, from the text of the invite to the messaging server's name, beside its one
Argon2id call. Trial decryption: finding the one entry of a bucket that opens, beside 64 openings of what is sealed in
an entry.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

from harness import BENCH, in_turn, ratios
from rows import Measured, Row, alone

sys.path.append(str(BENCH.parent / "tests" / "support"))

from client_work import Accepting, Opening, argon2id  # what the tests count instructions of, too

if TYPE_CHECKING:
    from collections.abc import Callable


def _seconds(work: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """Measure work in seconds of processor time: none of it waits, and what else the machine does matters less."""

    def measured() -> float:
        started = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - started) / times

    return measured


def accept(rounds: int = 60) -> Measured:
    """Measure ``accept`` without the network."""
    accepting = Accepting()
    contenders = {
        "whole": _seconds(accepting.whole),
        "argon2id": _seconds(argon2id),
        "rest": _seconds(accepting.rest, 20),
    }
    in_turn(contenders, 1)
    measured = in_turn(contenders, rounds)
    row = Row(
        "accept without the network / its one Argon2id call",
        ratios(measured["whole"], measured["argon2id"]),
        1.02,
        "low",
    )
    part = statistics.median(ratios(measured["rest"], measured["argon2id"]))
    return Measured(
        [row], [f"what accept computes beside its one Argon2id call takes {part:.4f} of that call's time"]
    )


def opening(rounds: int = 60, times: int = 20) -> Measured:
    """Measure trial decryption: of a bucket with our entry in it, and of one that is full of forgeries of it."""
    opening = Opening()
    contenders = {
        "ours": _seconds(opening.ours, times),
        "ours among forgeries": _seconds(opening.ours_among_forgeries, times),
        "by function": _seconds(opening.by_function, times),
        "by library": _seconds(opening.by_library, times),
    }
    measured = in_turn(contenders, rounds)
    name = "trial decryption of a bucket / 64 libsodium openings"
    rows = [
        Row(f"{name}: by PyNaCl's function", ratios(measured["ours"], measured["by function"]), 1, "low"),
        Row(f"{name}: by the C library in PyNaCl", ratios(measured["ours"], measured["by library"]), 1, "low"),
    ]
    forged = statistics.median(ratios(measured["ours among forgeries"], measured["by function"]))
    told = f"a bucket in which all other entries forge ours takes {forged:.2f} of 64 openings by PyNaCl's function"
    return Measured(rows, [told])


def measure() -> Measured:
    """Measure everything here, in some twenty seconds."""
    parts = accept(), opening()
    return Measured([row for part in parts for row in part.rows], [line for part in parts for line in part.told])


if __name__ == "__main__":
    alone(measure)
