"""How far a count is from what chance gives, in standard deviations of the normal distribution.

A test that refuses beyond :data:`LIMIT` is wrong once in a thousand million looks at what is really random, so
randomness that nobody can repeat (the operating system's) may be tested, too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT: Final = 6.1
"""Standard deviations; less than 1e-9 of the normal distribution is further from its middle, to both sides."""


def of_a_share(count: int, total: int, share: float = 0.5) -> float:
    """Say how far a count of ``total`` independent cases is from its share of them."""
    return (count - total * share) / math.sqrt(total * share * (1 - share))


def of_chi_square(chi_square: float, freedom: int) -> float:
    """Say how far a chi-square is from what it is expected to be (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return float(((chi_square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def of_counts(counts: Sequence[int]) -> float:
    """Say how far counts are from being all alike."""
    return of_chi_square(chi_square(counts), len(counts) - 1)


def chi_square(counts: Sequence[int]) -> float:
    """Give Pearson's chi-square of counts that should be all alike."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 for count in counts) / expected


def of_two_counts(one: Sequence[int], other: Sequence[int]) -> float:
    """Say how far two lists of counts are from being drawn from the same (chi-square for homogeneity)."""
    ones, others = sum(one), sum(other)
    chi = 0.0
    for a, b in zip(one, other, strict=True):
        share = (a + b) / (ones + others)
        if share:
            chi += (a - ones * share) ** 2 / (ones * share) + (b - others * share) ** 2 / (others * share)
    return of_chi_square(chi, len(one) - 1)


def interval(right: int, total: int, deviations: float = 1.96) -> tuple[float, float]:
    """Give the interval that a share lies in, at 95 in a hundred, where ``right`` of ``total`` were seen (Wilson)."""
    share, square = right / total, deviations**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = deviations * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return middle - half, middle + half
