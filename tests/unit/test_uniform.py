"""What two looks make of samples that are alike, that differ, and that differ by chance in the first look alone."""

from __future__ import annotations

import math
import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from uniform.classifier import WAYS, Score
from uniform.comparisons import COMPARISONS, LIMIT, SPREAD, Result, compare_twice
from uniform.guard import Record
from uniform.requests import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

STORE_FROM_FETCH, _, _, MUST_DIFFER = COMPARISONS
DOCUMENT = (Path(__file__).parents[2] / "docs" / "uniform.md").read_text()


def beyond(deviations: float) -> float:
    """Say how much of the normal distribution is further above its middle."""
    return math.erfc(deviations / math.sqrt(2)) / 2


def sample(outcome: Outcome, randomness: Random, told: float) -> Sample:
    """Make a sample that shows whether something was stored, so often; and otherwise says the contrary."""
    shows = (outcome is Outcome.STORED) is (randomness.random() < told)
    sizes = (543, -1086 if shows else -543, randomness.choice((543, 1086)), randomness.choice((-543, -1086)))
    return Sample(outcome, 0.0, tuple(Record(size, number / 10) for number, size in enumerate(sizes)))


class Watch:
    """Gives 75 samples of each outcome that is asked for; in each look, some are told in so many of one cases."""

    def __init__(self, *told: float) -> None:
        self._told = list(told)
        self._randomness = Random(1)
        self.asked: list[set[Outcome]] = []

    async def __call__(self, outcomes: list[Outcome]) -> list[Sample]:
        told = self._told.pop(0)
        self.asked.append(set(outcomes))
        return [sample(outcome, self._randomness, told) for outcome in outcomes for _ in range(75)]


@pytest.mark.parametrize(
    ("told", "right"), [((0.5,), True), ((0.85, 0.85), False), ((0.85, 0.5), True)], ids=["alike", "differ", "once"]
)
async def test_a_difference_counts_that_is_seen_twice(told: tuple[float, ...], right: bool) -> None:
    watch = Watch(*told)
    both = [STORE_FROM_FETCH, COMPARISONS[1]]
    first, second = await compare_twice(both, [Outcome.STORED, Outcome.FOUND, Outcome.MISSED], watch)
    assert first.as_it_has_to_be is right
    assert ("NOT as it has to be" in str(first)) is not right
    assert second.as_it_has_to_be
    assert second.again is None
    needed = {Outcome.STORED, Outcome.FOUND}
    assert watch.asked == [needed | {Outcome.MISSED}, *[needed] * (len(told) - 1)]


def scored(*right: int, again: Result | None = None, comparison: int = 0) -> Result:
    scores = {name: Score(count, 150) for name, count in zip(WAYS, right, strict=True)}
    return Result(COMPARISONS[comparison], scores, {}, again)


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [
        ((99, 99), None, True),
        ((100, 80), None, False),
        ((100, 80), (100, 80), False),
        ((80, 150), (80, 100), False),
        ((100, 80), (80, 150), True),
        ((150, 150), (99, 99), True),
    ],
)
def test_it_has_to_be_the_same_classifier(
    first: tuple[int, int], second: tuple[int, int] | None, right: bool
) -> None:
    assert scored(*first, again=second and scored(*second)).as_it_has_to_be is right


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [((150, 80), None, True), ((99, 99), None, False), ((99, 99), (80, 80), False), ((99, 99), (80, 100), True)],
)
def test_what_has_to_differ_may_do_so_in_either_look(
    first: tuple[int, int], second: tuple[int, int] | None, right: bool
) -> None:
    assert not MUST_DIFFER.alike
    again = second and scored(*second, comparison=3)
    assert scored(*first, again=again, comparison=3).as_it_has_to_be is right


def test_chance_is_refused_less_than_once_in_a_million_times() -> None:
    assert len(WAYS) * beyond(LIMIT / SPREAD) ** 2 < 1e-6


def lowest(good: Callable[[int], bool]) -> int:
    return next(percent for percent in range(50, 101) if good(percent))


def test_what_is_noticed_is_as_documented() -> None:
    rows = re.findall(r"^\| .* \| (\d+) \| (\d+) \((\d+) %\) \| (\d+) % \|$", DOCUMENT, re.MULTILINE)
    assert [int(guesses) for guesses, *_ in rows] == [150, 300, 600, 1000]
    for guesses, refused, percent, noticed in (map(int, row) for row in rows):
        assert Score(refused - 1, guesses).above_chance < LIMIT <= Score(refused, guesses).above_chance
        assert percent == round(100 * refused / guesses)

        def is_noticed(percent: int, guesses: int = guesses, refused: int = refused) -> bool:
            share = percent / 100
            spread = SPREAD * math.sqrt(guesses * share * (1 - share))
            return spread > 0 and beyond((refused - 0.5 - guesses * share) / spread) ** 2 >= 0.95

        assert noticed == lowest(is_noticed)
