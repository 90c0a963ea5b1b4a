"""Bucket ids, bucket links, and the places of a bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_material import ONION_KEY, cheap_argon2, flip

from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, ENTRY_SIZE, BucketId, bucket_link
from onion_rdv.protocol.bucket import entries

if TYPE_CHECKING:
    from collections.abc import Iterator

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True)
def _cheap() -> Iterator[None]:
    with cheap_argon2():
        yield


@given(U64, U32)
def test_an_id_comes_back(created_at: int, number: int) -> None:
    bucket_id = BucketId(created_at, number)
    assert BucketId.decode(bucket_id.encode()) == bucket_id
    assert bucket_id.encode() == created_at.to_bytes(8, "big") + number.to_bytes(4, "big")


@given(st.binary(max_size=24))
def test_any_bytes_are_an_id_or_refused(data: bytes) -> None:
    if len(data) == 12:
        assert BucketId.decode(data).encode() == data
    else:
        with pytest.raises(ValueError, match="a bucket id has 12 bytes"):
            BucketId.decode(data)


@pytest.mark.parametrize(
    ("created_at", "number", "which"),
    [(-1, 0, "created_at"), (2**64, 0, "created_at"), (0, -1, "number"), (0, 2**32, "number")],
)
def test_numbers_that_do_not_fit_are_refused(created_at: int, number: int, which: str) -> None:
    with pytest.raises(ValueError, match=f"{which} does not fit"):
        BucketId(created_at, number)


@given(st.tuples(U64, U32), st.tuples(U64, U32))
def test_ids_sort_as_their_bytes_do(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (BucketId(*one) < BucketId(*other)) == (BucketId(*one).encode() < BucketId(*other).encode())


def test_an_id_says_when() -> None:
    opened = datetime(2024, 1, 8, 6, 42, tzinfo=UTC)
    assert BucketId(int(opened.timestamp()), 0).encode().hex() == "00000000659b993800000000"


def test_a_link_depends_on_every_bit() -> None:
    bucket_id = BucketId(1_704_696_120, 7)
    data = bucket_id.encode()
    links = {bucket_link(BucketId.decode(flip(data, bit)), ONION_KEY) for bit in range(96)}
    links |= {bucket_link(bucket_id, flip(ONION_KEY, bit)) for bit in range(256)}
    assert len(links) == 96 + 256
    assert {len(link) for link in links} == {16}
    assert bucket_link(bucket_id, ONION_KEY) not in links
    assert bucket_link(bucket_id, ONION_KEY) == bucket_link(BucketId.decode(data), ONION_KEY)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_link_needs_a_whole_onion_key(size: int) -> None:
    with pytest.raises(ValueError, match=f"an onion key has 32 bytes, not {size}"):
        bucket_link(BucketId(0, 0), bytes(size))


def test_a_bucket_comes_apart_into_its_places() -> None:
    places = [bytes([place]) * ENTRY_SIZE for place in range(BUCKET_ENTRIES)]
    assert entries(b"".join(places)) == places
    assert sum(map(len, places)) == BUCKET_SIZE == 16_384
