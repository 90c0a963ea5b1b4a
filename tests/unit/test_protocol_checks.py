"""The initiator's checks, to the second and to the number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_material import ENTRY, bucket_with, flip

from onion_rdv.errors import ServerCheckFailed
from onion_rdv.protocol import BucketId, Limits, check_bucket_id, check_entry

NOW = 1_750_000_000.0


def passes(created_at: int, number: int, now: float, limits: Limits) -> bool:
    try:
        check_bucket_id(BucketId(created_at, number), now, limits)
    except ServerCheckFailed:
        return False
    return True


@pytest.mark.parametrize(
    ("age", "number", "good"),
    [
        (0, 0, True),
        (3600, 15, True),
        (3720, 15, True),
        (3721, 0, False),
        (-120, 15, True),
        (-121, 0, False),
        (0, 16, False),
    ],
)
def test_the_usual_limits(age: int, number: int, good: bool) -> None:
    assert passes(int(NOW) - age, number, NOW, Limits()) == good


def test_fractions_of_a_second_count() -> None:
    assert passes(int(NOW) - 3720, 0, NOW, Limits())
    assert not passes(int(NOW) - 3720, 0, NOW + 0.001, Limits())


SECONDS = st.integers(0, 10_000)


@given(st.integers(-20_000, 20_000), st.integers(0, 40), st.builds(Limits, SECONDS, SECONDS, st.integers(0, 40)))
def test_limits_are_what_they_say(age: int, number: int, limits: Limits) -> None:
    in_time = -limits.max_clock_skew <= age <= limits.max_bucket_age + limits.max_clock_skew
    good = in_time and number <= limits.max_bucket_number
    assert passes(int(NOW) - age, number, NOW, limits) == good


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.floats(0, 2**40))
def test_any_id_passes_or_is_refused(created_at: int, number: int, now: float) -> None:
    if passes(created_at, number, now, Limits()):
        assert -121 < now - created_at < 3721
        assert number <= 15


@pytest.mark.parametrize(
    ("bucket_id", "said", "about_the_clock"),
    [
        (BucketId(int(NOW) - 4000, 0), "its bucket was opened 4000 seconds ago, and 3600 are allowed", True),
        (BucketId(int(NOW) + 500, 0), "its bucket was opened 500 seconds in the future, and 120 are allowed", True),
        (BucketId(int(NOW), 99), "its bucket is number 99 of one second, and 15 is the highest allowed", False),
    ],
)
def test_says_what_was_seen_and_what_is_allowed(bucket_id: BucketId, said: str, about_the_clock: bool) -> None:
    with pytest.raises(ServerCheckFailed) as caught:
        check_bucket_id(bucket_id, NOW, Limits())
    assert caught.value.detail == said
    assert ("check this machine's clock" in caught.value.hint) == about_the_clock


@given(st.sets(st.integers(0, 63)))
def test_an_entry_is_there_once(places: set[int]) -> None:
    bucket = bucket_with(dict.fromkeys(places, ENTRY), filling=flip(ENTRY, 2047))
    if len(places) == 1:
        check_entry(ENTRY, bucket, "this bucket")
        return
    said = f"our entry is {len(places)} times in this bucket" if places else "our entry is missing from this bucket"
    with pytest.raises(ServerCheckFailed) as caught:
        check_entry(ENTRY, bucket, "this bucket")
    assert caught.value.detail == said


def test_an_entry_across_two_places_is_missing() -> None:
    bucket = bytes(100) + ENTRY + bytes(64 * 256 - 100 - 256)
    with pytest.raises(ServerCheckFailed, match="missing"):
        check_entry(ENTRY, bucket, "this bucket")
