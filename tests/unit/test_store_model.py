"""A store of buckets against a simple model of it, in sequences that hypothesis thinks up."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stores import Clock, OpenStore, an_entry, cheap_link, until_kept

from onion_rdv.protocol import BUCKET_ENTRIES, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous import links

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from onion_rdv.rendezvous.store import BucketStore


class StoreMachine(RuleBasedStateMachine):
    """The store against a model: which entries each bucket must hold, and which bucket is open.

    Where several servers share a store, any of them may be asked.
    """

    WINDOW, LIFETIME = 100, 1000
    SERVERS = 1

    directory: Path
    open_it: OpenStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.buckets: dict[BucketId, set[bytes]] = {}
        self.used: set[BucketId] = set()
        self.open_id: BucketId | None = None
        self.run = self.runner.run
        self.place = type(self).directory / secrets.token_hex(8)
        self.place.mkdir()
        self.stores = [self.run(self.open()) for _ in range(self.SERVERS)]

    async def open(self) -> BucketStore:
        return await type(self).open_it(
            self.place, clock=self.clock, window=self.WINDOW, lifetime=self.LIFETIME, cached_buckets=2
        )

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.runner.close()

    def server(self, number: int) -> BucketStore:
        return self.stores[number % self.SERVERS]

    @rule(count=st.integers(1, 150), server=st.integers(0, 1))
    def put(self, count: int, server: int) -> None:
        async def together() -> list[BucketId]:
            stored = await asyncio.gather(*map(self.server(server).store, given))
            return [where.bucket_id for where in stored]

        given = [an_entry() for _ in range(count)]
        for entry, bucket_id in zip(given, self.run(together()), strict=True):
            if bucket_id != self.open_id:
                assert bucket_id not in self.used
                assert bucket_id.created_at == int(self.clock.now)
                assert self.open_id is None or len(self.buckets[self.open_id]) == BUCKET_ENTRIES
                self.used.add(bucket_id)
                self.buckets[bucket_id] = set()
                self.open_id = bucket_id
            self.buckets[bucket_id].add(entry)

    @rule(seconds=st.one_of(st.integers(-300, 300), st.integers(-2000, 2000)))
    def move_clock(self, seconds: int) -> None:
        self.clock.now += seconds
        now = self.clock.now
        if self.open_id is not None and not self.open_id.created_at <= now < self.open_id.created_at + self.WINDOW:
            self.open_id = None
        self.buckets = {b: held for b, held in self.buckets.items() if b.created_at + self.LIFETIME > now}
        self.run(self.clock.seen())
        self.run(until_kept(self.stores[0], len(self.buckets)))

    @rule(server=st.integers(0, 1))
    def restart(self, server: int) -> None:
        self.run(self.server(server).close())
        self.stores[server % self.SERVERS] = self.run(self.open())

    @precondition(lambda self: self.used)
    @rule(data=st.data(), server=st.integers(0, 1))
    def fetch(self, data: st.DataObject, server: int) -> None:
        bucket_id = data.draw(st.sampled_from(sorted(self.used)))
        bucket = self.run(self.server(server).fetch(cheap_link(bucket_id)))
        assert (bucket is None) == (bucket_id not in self.buckets)
        assert bucket is None or self.buckets[bucket_id] <= set(entries(bucket))

    @invariant()
    def nothing_is_overfull(self) -> None:
        assert all(len(held) <= BUCKET_ENTRIES for held in self.buckets.values())
        assert self.run(self.stores[0].totals()).buckets == len(self.buckets)


def test_the_store_does_as_its_model(
    open_in: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(links, "bucket_link", cheap_link)

    class Machine(StoreMachine):
        SERVERS = 2 if "postgres" in request.node.callspec.id else 1
        directory = tmp_path
        open_it = staticmethod(open_in)

    run_state_machine_as_test(Machine, settings=settings(max_examples=20, stateful_step_count=20, deadline=None))
