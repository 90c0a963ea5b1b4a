"""A battery of tests for blocks of bytes that are to look random, each by itself and all together.

Each gives how far the blocks are from what chance gives, as :mod:`uniform.chance` counts it. None of them knows what
the blocks are: they look for what a format, a header, padding, a key used twice or a bad generator would leave.
"""

from __future__ import annotations

import lzma
import zlib
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Final

from uniform.chance import chi_square, of_a_share, of_chi_square, of_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_BYTES: Final = 256
_WORD: Final = 8  # bytes; among a million of them two are the same once in 40 million tries


def ones(blocks: Sequence[bytes]) -> float:
    """Count the bits that are set."""
    return _ones(b"".join(blocks))


def runs(blocks: Sequence[bytes]) -> float:
    """Count how often a bit differs from the one before it (Wald and Wolfowitz)."""
    number = int.from_bytes(b"".join(blocks))
    bits = 8 * sum(map(len, blocks))
    changes = (number ^ (number >> 1)) & ((1 << (bits - 1)) - 1)
    return of_a_share(changes.bit_count(), bits - 1)


def values(blocks: Sequence[bytes]) -> float:
    """Count how often each value of a byte comes up."""
    return of_counts(_count(chain.from_iterable(blocks), _BYTES))


def neighbours(blocks: Sequence[bytes]) -> float:
    """Count the pairs that bytes make with the next."""
    data = b"".join(blocks)
    return of_counts(_count((a * _BYTES + b for a, b in zip(data[::2], data[1::2], strict=True)), _BYTES**2))


def values_by_position(blocks: Sequence[bytes]) -> float:
    """Count values for each position in a block by itself: what always stands there, or nearly always."""
    columns = list(zip(*blocks, strict=True))
    chi = sum(chi_square(_count(column, _BYTES)) for column in columns)
    return of_chi_square(chi, len(columns) * (_BYTES - 1))


def bits_by_position(blocks: Sequence[bytes]) -> float:
    """Count the bits that are set for each position in a block by itself."""
    columns = [bytes(column) for column in zip(*blocks, strict=True)]
    masks = [int.from_bytes(bytes([1 << bit]) * len(blocks)) for bit in range(8)]
    counts = [(int.from_bytes(column) & mask).bit_count() for column in columns for mask in masks]
    return of_chi_square(sum(of_a_share(count, len(blocks)) ** 2 for count in counts), len(counts))


def differences(blocks: Sequence[bytes]) -> float:
    """Count the bits in which a block differs from the one after it: a key used twice shows here."""
    pairs = zip(blocks[::2], blocks[1::2], strict=False)
    xored = (int.from_bytes(a) ^ int.from_bytes(b) for a, b in pairs)
    size = len(blocks[0])
    return _ones(b"".join(number.to_bytes(size) for number in xored))


def repeats(blocks: Sequence[bytes]) -> float:
    """Count the words that come up twice; there ought to be none."""
    words = [block[start : start + _WORD] for block in blocks for start in range(0, len(block), _WORD)]
    return _never(len(words) - len(set(words)))


def compression(blocks: Sequence[bytes]) -> float:
    """Count the bytes that a compressor saves; there ought to be none."""
    data = b"".join(blocks)
    return _never(max(0, len(data) - min(len(zlib.compress(data, 9)), len(lzma.compress(data)))))


BATTERY: Final[dict[str, Callable[[Sequence[bytes]], float]]] = {
    test.__name__: test
    for test in (
        ones,
        runs,
        values,
        neighbours,
        values_by_position,
        bits_by_position,
        differences,
        repeats,
        compression,
    )
}


def run(blocks: Sequence[bytes]) -> dict[str, float]:
    """Give what each test says of these blocks, which have to be equally long."""
    return {name: test(blocks) for name, test in BATTERY.items()}


def _ones(data: bytes) -> float:
    return of_a_share(int.from_bytes(data).bit_count(), 8 * len(data))


def _count(numbers: Iterable[int], kinds: int) -> list[int]:
    counted = Counter(numbers)
    return [counted[number] for number in range(kinds)]


def _never(times: int) -> float:
    """Say how far it is from chance that something came up that does not by chance."""
    return float("inf") if times else 0.0
