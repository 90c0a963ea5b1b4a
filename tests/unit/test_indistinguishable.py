"""Entries and filler are the same to whoever has no key: a battery of statistics, and a classifier that learns.

What is looked at is the product's own randomness, which is another one each time. That all is well is believed unless
it is further from chance than it is once in a thousand million runs.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import pytest
from protocol_material import cheap_argon2
from stores import ONION_KEY, Clock, OpenStore, cheap_link

from onion_rdv.protocol import ENTRY_SIZE, seal
from onion_rdv.protocol.bucket import entries
from uniform import battery, chance
from uniform.classifier import tell_apart

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = 1024
SHORT_LINK = "a:b"
LONG_LINK = "x" * 206


def make_entries(link: str, count: int = BLOCKS) -> list[bytes]:
    """Seal one link again and again, with one passphrase: what could be alike, is."""
    with cheap_argon2():
        return [seal(link, "correct horse", os.urandom(16), ONION_KEY) for _ in range(count)]


async def take_filler(store_at: OpenStore, clock: Clock, count: int = BLOCKS) -> list[bytes]:
    """Give what a store has in places where no entry is, from buckets that close with one entry or with thirty."""
    store = await store_at(window=1)
    filler: list[bytes] = []
    while len(filler) < count:
        given = make_entries(LONG_LINK, 1 if len(filler) % 2 else 30)
        for entry in given:
            stored = await store.store(entry)
        clock.now += 1
        bucket = await store.fetch(cheap_link(stored.bucket_id))
        assert bucket is not None
        filler += [place for place in entries(bucket) if place not in given]
    return filler[:count]


def is_chance(blocks: list[bytes]) -> bool:
    return all(abs(found) < chance.LIMIT for found in battery.run(blocks).values())


@pytest.mark.parametrize("link", [SHORT_LINK, LONG_LINK])
def test_entries_look_like_chance(link: str) -> None:
    found = battery.run(make_entries(link))
    assert max(map(abs, found.values())) < chance.LIMIT, found


@pytest.mark.usefixtures("_cheap_links")
async def test_filler_looks_like_chance(open_store: OpenStore, clock: Clock) -> None:
    found = battery.run(await take_filler(open_store, clock))
    assert max(map(abs, found.values())) < chance.LIMIT, found


@pytest.mark.usefixtures("_cheap_links")
async def test_entries_are_not_told_from_filler(open_store: OpenStore, clock: Clock) -> None:
    sealed, filler = make_entries(SHORT_LINK), await take_filler(open_store, clock)
    counts = [[b"".join(blocks).count(value) for value in range(256)] for blocks in (sealed, filler)]
    assert abs(chance.of_two_counts(*counts)) < chance.LIMIT
    # The neighbours of a sample are looked for among all others, so there are fewer of them.
    scores = tell_apart(
        [tuple(map(float, one)) for one in sealed[:300]], [tuple(map(float, one)) for one in filler[:300]]
    )
    assert max(score.above_chance for score in scores.values()) < chance.LIMIT, scores


FAULTS: dict[str, Callable[[Random], bytes]] = {
    "a format that begins alike": lambda r: b"\x01" + r.randbytes(255),
    "a length near the end": lambda r: r.randbytes(254) + (100 + r.randrange(60)).to_bytes(2),
    "one bit that is never set": lambda r: bytes([r.randrange(128)]) + r.randbytes(255),
    "padding that was left open": lambda r: r.randbytes(252) + bytes(4),
    "text": lambda r: r.randbytes(192).hex().encode()[:256],
    "a byte that seldom is zero": lambda r: bytes(max(r.randrange(256), r.randrange(2)) for _ in range(256)),
    "a key that is used twice": lambda r: (int.from_bytes(Random(3).randbytes(256)) ^ r.getrandbits(64)).to_bytes(
        256
    ),
    "few different blocks": lambda r: Random(r.randrange(500)).randbytes(256),
    "bits that stick to the last": lambda r: bytes(r.choice((0, 255, r.randrange(256))) for _ in range(256)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_battery_sees_what_is_wrong(name: str) -> None:
    randomness = Random(1)
    assert not is_chance([FAULTS[name](randomness) for _ in range(BLOCKS)])
    assert is_chance([randomness.randbytes(ENTRY_SIZE) for _ in range(BLOCKS)])


def test_the_classifier_learns_what_there_is_to_learn() -> None:
    randomness = Random(1)
    plain = [tuple(map(float, randomness.randbytes(20))) for _ in range(200)]
    shifted = [tuple(value + 40.0 for value in randomness.randbytes(20)) for _ in range(200)]
    more = [tuple(map(float, randomness.randbytes(20))) for _ in range(200)]
    assert all(score.above_chance > chance.LIMIT for score in tell_apart(plain, shifted).values())
    assert all(abs(score.above_chance) < chance.LIMIT for score in tell_apart(plain, more).values())
