"""What is told apart, and whether it may be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from uniform.classifier import tell_apart
from uniform.requests import Outcome
from uniform.traffic import sizes_and_directions, times

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from uniform.classifier import Score
    from uniform.requests import Sample

LIMIT: Final = 4.0
"""Standard deviations of a coin above chance, from which a classifier has told two sorts apart, in one look.

A comparison counts as wrong where a second look, at fresh samples, says the same of the same classifier. For two that
are alike this happens less than once in a million times: one look passes the limit by chance 7 times in 10,000
(``LIMIT / SPREAD`` standard deviations), either of two classifiers does so twice 9 times in 10,000,000.
"""

SPREAD: Final = 1.25
"""How much wider what is guessed in turn spreads than a coin, at most.

Samples of requests whose labels were shuffled say so: 1.22 times for the nearest neighbours among 60 of each kind,
less among more, and less for naive Bayes.
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
    """How often two sorts were told apart; ``by_time`` is what the times alone gave, which are not promised.

    ``again`` is what a second look gave, at samples of its own.
    """

    comparison: Comparison
    scores: dict[str, Score]
    by_time: dict[str, Score]
    again: Result | None = None

    @property
    def as_it_has_to_be(self) -> bool:
        """Whether alike is alike, and different is seen to be, in one look at least."""
        told = self._told
        if self.again is not None:
            told = told & self.again._told if self.comparison.alike else told | self.again._told
        return self.comparison.alike in {not told, None}

    @property
    def _told(self) -> set[str]:
        return {name for name, score in self.scores.items() if score.above_chance >= LIMIT}

    def __str__(self) -> str:
        lines = [f"  {name}: {score}" for name, score in self.scores.items()]
        lines += [f"  {name}, by times alone: {score}" for name, score in self.by_time.items()]
        verdict = "" if self.as_it_has_to_be else " (this is NOT as it has to be)"
        again = [] if self.again is None else [f"once more, {self.again}"]
        return "\n".join([f"{self.comparison.what}:{verdict}", *lines, *again])


def compare(comparison: Comparison, samples: Sequence[Sample]) -> Result:
    """Learn to tell two sorts of requests apart."""
    one = [sample for sample in samples if sample.outcome in comparison.one]
    other = [sample for sample in samples if sample.outcome in comparison.other]
    scores, by_time = (
        tell_apart([tuple(features(sample)) for sample in one], [tuple(features(sample)) for sample in other])
        for features in (sizes_and_directions, times)
    )
    return Result(comparison, scores, by_time)


async def compare_twice(
    comparisons: Sequence[Comparison],
    outcomes: Sequence[Outcome],
    watch: Callable[[list[Outcome]], Awaitable[Sequence[Sample]]],
) -> list[Result]:
    """Make comparisons of what ``watch`` gives for a list of outcomes; once more where one is not as it has to be.

    That second look is at fresh samples, of the outcomes that it needs.
    """
    samples = await watch(list(outcomes))
    results = [compare(comparison, samples) for comparison in comparisons]
    doubted = [result.comparison for result in results if not result.as_it_has_to_be]
    if not doubted:
        return results
    needed = frozenset[Outcome]().union(*(one.one | one.other for one in doubted))
    fresh = await watch([outcome for outcome in outcomes if outcome in needed])
    return [
        replace(result, again=compare(result.comparison, fresh)) if result.comparison in doubted else result
        for result in results
    ]
