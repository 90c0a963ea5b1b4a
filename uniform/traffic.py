"""What is learnt from: a request as it passed the guard, in numbers."""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uniform.classifier import Features
    from uniform.guard import Record
    from uniform.requests import Sample

_POINTS: Final = 30
_FIRST: Final = 20
_BURSTS: Final = 12
_LARGE: Final = (600, 1200, 2400, 4200)  # bytes of a record; a cell has 514, and tor puts some into one


def sizes_and_directions(sample: Sample) -> Features:
    """Describe a request by the sizes and directions of its records, in their order, and by nothing else.

    Sums and counts, the first records, the first bursts (records in one direction until one comes in the other), and
    the course of the sum of all so far, at 30 points (CUMUL: Panchenko et al., "Website Fingerprinting at Internet
    Scale", 2016).
    """
    sizes = [record.size for record in sample.records]
    out, back = [size for size in sizes if size > 0], [-size for size in sizes if size < 0]
    bursts = [sum(burst) for _, burst in groupby(sizes, key=lambda size: size > 0)]
    counts = [sum(limit < size for size in way) for way in (out, back) for limit in (0, *_LARGE)]
    return (
        float(sum(out)),
        float(sum(back)),
        float(len(bursts)),
        *map(float, counts),
        *_first(sizes, _FIRST),
        *_first(bursts, _BURSTS),
        *_course([0, *accumulate(sizes)]),
    )


def times(sample: Sample) -> Features:
    """Describe a request by when so much of it had passed, in either direction: what nobody promises to be alike."""
    return tuple(
        moment
        for direction in (1, -1)
        for moment in _moments([each for each in sample.records if each.size * direction > 0], sample.began)
    )


def _moments(records: Sequence[Record], began: float) -> list[float]:
    """Give the seconds after which each tenth of the bytes had passed."""
    total, passed = sum(abs(record.size) for record in records), 0
    found: list[float] = []
    for record in records:
        passed += abs(record.size)
        while len(found) < 10 and passed * 10 >= total * (len(found) + 1):
            found.append(record.at - began)
    return found or [0.0] * 10


def _first(numbers: Sequence[int], count: int) -> list[float]:
    return [float(number) for number in [*numbers[:count], *[0] * count][:count]]


def _course(line: Sequence[int]) -> list[float]:
    last = len(line) - 1
    return [float(line[round(at * last / (_POINTS - 1))]) for at in range(_POINTS)]
