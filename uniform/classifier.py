"""Learning to tell two kinds of samples apart, and counting how often that comes out right.

Two ways that need nothing but arithmetic: what is typical of each kind (Gaussian naive Bayes), and what the most
similar samples were (k nearest neighbours). The second is how websites are told apart by what Tor lets through (Wang
et al., "Effective Attacks and Provable Defenses for Website Fingerprinting", 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Self

from uniform.chance import interval, of_a_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Features = tuple[float, ...]
"""What is known of a sample, in numbers; as many of each."""

_NEIGHBOURS: Final = 7
_FOLDS: Final = 5


class NaiveBayes:
    """Takes each feature to be spread about a middle that its kind has, independently of the others."""

    def __init__(self, samples: Sequence[Features], kinds: Sequence[bool]) -> None:
        everything = _spreads(samples, 0.0)
        # What never differed within a kind still may: a little of the whole spread is added.
        self._kinds = {
            kind: _spreads(
                [one for one, is_kind in zip(samples, kinds, strict=True) if is_kind is kind], 1e-3, everything
            )
            for kind in (False, True)
        }

    def guess(self, sample: Features) -> bool:
        """Say which kind a sample is of."""
        return self._likelihood(sample, self._kinds[True]) > self._likelihood(sample, self._kinds[False])

    @staticmethod
    def _likelihood(sample: Features, spreads: Sequence[tuple[float, float]]) -> float:
        return -sum(
            (value - mean) ** 2 / (2 * variance) + math.log(variance) / 2
            for value, (mean, variance) in zip(sample, spreads, strict=True)
            if variance
        )


class NearestNeighbours:
    """Asks the most similar samples that it has seen."""

    def __init__(self, samples: Sequence[Features], kinds: Sequence[bool]) -> None:
        self._spreads = _spreads(samples, 0.0)
        self._seen = [(self._scale(sample), kind) for sample, kind in zip(samples, kinds, strict=True)]

    def guess(self, sample: Features) -> bool:
        """Say which kind a sample is of."""
        scaled = self._scale(sample)
        near = sorted(self._seen, key=lambda seen: math.dist(seen[0], scaled))[:_NEIGHBOURS]
        return sum(kind for _, kind in near) * 2 > len(near)

    def _scale(self, sample: Features) -> Features:
        return tuple(
            (value - mean) / math.sqrt(variance)
            for value, (mean, variance) in zip(sample, self._spreads, strict=True)
            if variance
        )


WAYS: Final[dict[str, Callable[[Sequence[Features], Sequence[bool]], NaiveBayes | NearestNeighbours]]] = {
    "naive Bayes": NaiveBayes,
    "nearest neighbours": NearestNeighbours,
}


@dataclass(frozen=True)
class Score:
    """How often a guess was right; with as many of each kind, one in two is what a coin would give."""

    right: int
    total: int

    @property
    def share(self) -> float:
        """How many in one."""
        return self.right / self.total

    @property
    def above_chance(self) -> float:
        """How much better than a coin, in standard deviations of what a coin gives."""
        return of_a_share(self.right, self.total)

    def __str__(self) -> str:
        low, high = interval(self.right, self.total)
        return f"{self.share:.1%} of {self.total} (95%: {low:.1%} to {high:.1%})"

    def __add__(self, other: Self) -> Score:
        return Score(self.right + other.right, self.total + other.total)


def tell_apart(one: Sequence[Features], other: Sequence[Features], seed: int = 0) -> dict[str, Score]:
    """Learn from four fifths of both, guess the rest, five times in turn (cross-validation); give how that went.

    There are as many of both in what is learnt from and in what is guessed: more of either are left out.
    """
    randomness = Random(seed)
    size = min(len(one), len(other)) // _FOLDS
    folds: list[list[tuple[Features, bool]]] = [[] for _ in range(_FOLDS)]
    for kind, samples in ((False, one), (True, other)):
        shuffled = randomness.sample(samples, len(samples))
        for at, fold in enumerate(folds):
            fold += [(sample, kind) for sample in shuffled[at * size : (at + 1) * size]]
    scores = dict.fromkeys(WAYS, Score(0, 0))
    for held_out in folds:
        learnt = [each for fold in folds if fold is not held_out for each in fold]
        samples, kinds = [sample for sample, _ in learnt], [kind for _, kind in learnt]
        for name, way in WAYS.items():
            guesser = way(samples, kinds)
            scores[name] += Score(sum(guesser.guess(sample) is kind for sample, kind in held_out), len(held_out))
    return scores


def _spreads(
    samples: Sequence[Features], floor: float, everything: Sequence[tuple[float, float]] | None = None
) -> list[tuple[float, float]]:
    """Give mean and variance of each feature, the latter with a part of the variance that it has in everything."""
    found = []
    for at, column in enumerate(zip(*samples, strict=True)):
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        found.append((mean, variance + (floor * everything[at][1] if everything else 0.0)))
    return found
