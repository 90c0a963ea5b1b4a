"""Which place an entry takes says nothing: not which it was, not how many came before, nor where the next will be."""

from __future__ import annotations

import asyncio
from random import Random, SystemRandom
from typing import TYPE_CHECKING

import pytest
from stores import START, Clock, OpenStore, an_entry

from onion_rdv.protocol import BUCKET_ENTRIES, BUCKET_SIZE, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.filling import FillingBucket
from uniform import chance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENTRY = bytes(256)
BUCKETS = 1500


def findings(orders: Sequence[Sequence[int]]) -> dict[str, float]:
    """Say how far from chance the places are that a bucket's entries took one after the other, in many buckets.

    Looked at are the places of the first, the second and so on to the last, by themselves and all together; how far
    it is from each place to the next; and how often the next is a later one.
    """
    counts = [_count(places) for places in zip(*orders, strict=True)]
    found = {f"entry {at}": chance.of_counts(places) for at, places in enumerate(counts, 1)}
    # Each bucket has each place once, which leaves as many numbers free as a table of 63 by 63 has.
    free = BUCKET_ENTRIES - 1
    found["all"] = chance.of_chi_square(sum(map(chance.chi_square, counts)) * free / BUCKET_ENTRIES, free**2)
    pairs = [pair for order in orders for pair in zip(order[::2], order[1::2], strict=True)]
    steps = _count((after - before) % BUCKET_ENTRIES for before, after in pairs)
    assert steps[0] == 0, "no place is taken twice"
    found["steps"] = chance.of_counts(steps[1:])
    found["rising"] = chance.of_a_share(sum(before < after for before, after in pairs), len(pairs))
    return found


def _count(places: Iterable[int]) -> list[int]:
    counts = [0] * BUCKET_ENTRIES
    for place in places:
        counts[place] += 1
    return counts


def fill(randomness: Random, interrupted_after: int = 0) -> list[int]:
    """Fill a bucket, by a server that stops and goes on after so many entries; give the places in order."""
    filling = FillingBucket.new(1, BucketId(START, 0), randomness)
    places = [filling.put(ENTRY) for _ in range(interrupted_after)]
    filling = FillingBucket(1, filling.bucket_id, filling.content(), filling.taken, randomness)
    return places + [filling.put(ENTRY) for _ in range(filling.room)]


@pytest.mark.parametrize("interrupted_after", [0, 20])
def test_no_place_is_preferred(interrupted_after: int) -> None:
    found = findings([fill(SystemRandom(), interrupted_after) for _ in range(BUCKETS)])
    assert max(map(abs, found.values())) < chance.LIMIT, found


@pytest.mark.usefixtures("_cheap_links")
async def test_no_store_prefers_a_place(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store(window=1)
    firsts, lasts = [], []
    for _ in range(200):
        given = [an_entry() for _ in range(4)]
        await store.store(given[0])
        await asyncio.gather(*(store.store(entry) for entry in given[1:-1]))
        bucket = entries((await store.store(given[-1])).bucket)
        firsts.append(bucket.index(given[0]))
        lasts.append(bucket.index(given[-1]))
        clock.now += 1
    for places in (firsts, lasts):
        assert abs(chance.of_counts(_count(places))) < chance.LIMIT
    steps = _count((last - first) % BUCKET_ENTRIES for first, last in zip(firsts, lasts, strict=True))
    assert abs(chance.of_counts(steps[1:])) < chance.LIMIT


class Biased(Random):
    """Puts places in an order of its own: the keys by which they are sorted are their numbers in it."""

    def randbytes(self, n: int) -> bytes:
        if n == BUCKET_SIZE:
            return super().randbytes(n)
        order = list(range(BUCKET_ENTRIES))
        self.shuffle(order)
        return b"".join(order.index(place).to_bytes(n // BUCKET_ENTRIES) for place in range(BUCKET_ENTRIES))


class Rounded(Biased):
    """Draws a number and takes what is left over when it is divided: the smaller come up more often."""

    def shuffle(self, x: list[int]) -> None:  # type: ignore[override]
        for at in range(len(x) - 1, 0, -1):
            other = self.randrange(80) % (at + 1)
            x[at], x[other] = x[other], x[at]


class Naive(Biased):
    """Changes every place with any other, which does not give all orders equally often."""

    def shuffle(self, x: list[int]) -> None:  # type: ignore[override]
        for at in range(len(x)):
            other = self.randrange(len(x))
            x[at], x[other] = x[other], x[at]


class InOrder(Biased):
    """Begins anywhere, and goes on from there."""

    def shuffle(self, x: list[int]) -> None:  # type: ignore[override]
        start = self.randrange(len(x))
        x[:] = x[start:] + x[:start]


@pytest.mark.parametrize("kind", [Rounded, Naive, InOrder])
def test_a_bias_is_seen(kind: type[Biased]) -> None:
    randomness = kind(1)
    found = findings([fill(randomness) for _ in range(BUCKETS)])
    assert max(map(abs, found.values())) > chance.LIMIT
