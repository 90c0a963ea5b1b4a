"""SMP's blocks beside PyNaCl's boxes of the same size: what all that is not the box costs, on one core.

A block is sealed and opened: its key is derived twice, by either side, and its data is padded. Then the same with a
transmission in each block that is put together and taken apart.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from harness import in_turn, ratios
from nacl.secret import SecretBox
from rows import Measured, Row, alone

from onion_rdv.smp.wire.blocks import BLOCK_SIZE, ChainedBlocks
from onion_rdv.smp.wire.crypto import TAG_SIZE
from onion_rdv.smp.wire.transmissions import Transmission, batches, split

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION = 18
_KEY, _SESSION_ID, _ID = bytes(range(32)), bytes(32), bytes(24)
_BODY = secrets.token_bytes(16_000)
_PADDED = secrets.token_bytes(BLOCK_SIZE - TAG_SIZE)


def _rate(times: int, work: Callable[[], None]) -> float:
    started = time.process_time()  # other work on the machine does not count
    for _ in range(times):
        work()
    return times / (time.process_time() - started)


def _both_sides() -> tuple[ChainedBlocks, ChainedBlocks]:
    return ChainedBlocks.for_client(_SESSION_ID, _KEY), ChainedBlocks.for_server(_SESSION_ID, _KEY)


def blocks(times: int) -> float:
    """Seal and open blocks; gives how many a second."""
    client, server = _both_sides()
    return _rate(times, lambda: _same(server.open(client.seal(_BODY)), _BODY))


def transmissions(times: int) -> float:
    """Do that with a transmission in each."""
    client, server = _both_sides()

    def there() -> None:
        (data,) = batches([Transmission(_ID, _ID, _BODY).encode(_VERSION)])
        (part,) = split(server.open(client.seal(data)))
        _same(Transmission.decode(part, _VERSION).command, _BODY)

    return _rate(times, there)


def boxes(times: int) -> float:
    """Seal and open PyNaCl's boxes."""
    box = SecretBox(_KEY)
    return _rate(times, lambda: _same(box.decrypt(box.encrypt(_PADDED)), _PADDED))


def _same(one: bytes, other: bytes) -> None:
    assert len(one) == len(other)


def measure(rounds: int = 40, times: int = 500) -> Measured:
    """Measure everything here, in some five seconds."""
    measured = in_turn({work.__name__: partial(work, times) for work in (blocks, transmissions, boxes)}, rounds)
    rows = [
        Row(name, ratios(measured[key], measured["boxes"]), 0.5, "high")
        for key, name in (
            ("blocks", "SMP blocks sealed and opened / PyNaCl's boxes"),
            ("transmissions", "SMP blocks with transmissions in them / PyNaCl's boxes"),
        )
    ]
    return Measured(rows)


if __name__ == "__main__":
    alone(measure)
