"""What is told apart, and whether it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uniform.classifier import tell_apart
from uniform.requests import Outcome
from uniform.traffic import sizes_and_directions, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uniform.classifier import Score
    from uniform.requests import Sample

LIMIT: Final = 6.0
"""Standard deviations above chance: wrong less than once in a million times.

What is guessed in turn spreads up to 1.2 times as wide as a coin, as samples show whose labels were shuffled.
"""


@dataclass(frozen=True)
class Comparison:
    """Two sorts of outcomes; whether they have to be ``alike`` to who counts, have to differ, or may do either."""

    what: str
    one: frozenset[Outcome]
    other: frozenset[Outcome]
    alike: bool | None = True


COMPARISONS: Final = (
    Comparison("store from fetch", frozenset({Outcome.STORED}), frozenset({Outcome.FOUND})),
    Comparison("hit from miss", frozenset({Outcome.FOUND}), frozenset({Outcome.MISSED})),
    Comparison(
        "error from success",
        frozenset({Outcome.STORE_REFUSED, Outcome.FETCH_REFUSED}),
        frozenset({Outcome.STORED, Outcome.FOUND}),
    ),
    Comparison("32 cells more from none", frozenset({Outcome.LONGER}), frozenset({Outcome.FOUND}), alike=False),
)
SENSITIVITY: Final = Comparison(
    "two cells more from none", frozenset({Outcome.A_LITTLE_LONGER}), frozenset({Outcome.FOUND}), alike=None
)


@dataclass(frozen=True)
class Result:
    """How often two sorts were told apart; ``by_time`` is what the times alone gave, which are not promised."""

    comparison: Comparison
    scores: dict[str, Score]
    by_time: dict[str, Score]

    @property
    def as_it_has_to_be(self) -> bool:
        """Whether alike is alike, and different is seen to be."""
        best = max(score.above_chance for score in self.scores.values())
        return self.comparison.alike in {best < LIMIT, None}

    def __str__(self) -> str:
        lines = [f"  {name}: {score}" for name, score in self.scores.items()]
        lines += [f"  {name}, by times alone: {score}" for name, score in self.by_time.items()]
        verdict = "" if self.as_it_has_to_be else " (this is NOT as it has to be)"
        return "\n".join([f"{self.comparison.what}:{verdict}", *lines])


def compare(comparison: Comparison, samples: Sequence[Sample]) -> Result:
    """Learn to tell two sorts of requests apart."""
    one = [sample for sample in samples if sample.outcome in comparison.one]
    other = [sample for sample in samples if sample.outcome in comparison.other]
    scores, by_time = (
        tell_apart([tuple(features(sample)) for sample in one], [tuple(features(sample)) for sample in other])
        for features in (sizes_and_directions, times)
    )
    return Result(comparison, scores, by_time)
