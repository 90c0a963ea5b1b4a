"""A store of buckets beside a simple model of it, for hypothesis to try sequences of steps on both."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from stores import Clock, OpenStore, an_entry, cheap_link, until_closed, until_kept

from onion_rdv.errors import StoreError
from onion_rdv.protocol import BUCKET_ENTRIES, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.rendezvous.kept import KeptBucket

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.rendezvous.store import BucketStore

STEPS = st.one_of(st.integers(-300, 300), st.integers(-2000, 2000))
"""Seconds by which the clock jumps: often within a bucket's window, sometimes beyond its lifetime."""


class StoreMachine(RuleBasedStateMachine):
    """The store against a model: which entries each bucket must hold, and which bucket is open.

    A test makes a subclass that says where stores are (``directory``) and how they are opened. Where several servers
    share a store, any of them may be asked.

    What is drawn must not depend on what the store has: where something goes wrong in the middle of a step, how much
    was stored by then is another thing each time, and hypothesis wants the same draws from the same sequence.
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
        self.doubtful: set[bytes] = set()  # entries that were refused: they may be there all the same, or not
        self.expired: dict[BucketId, set[bytes]] = {}
        self.run = self.runner.run
        self.place = self.new_place()
        self.place.mkdir()
        self.stores = [self.run(self.open()) for _ in range(self.SERVERS)]

    def new_place(self) -> Path:
        return type(self).directory / secrets.token_hex(8)

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

    @property
    def store(self) -> BucketStore:
        return self.stores[0]

    # What people do, and what the clock does

    @rule(count=st.integers(1, 150), server=st.integers(0, 1))
    def put(self, count: int, server: int) -> None:
        refused = self.run(self.try_to_put(count, server))
        assert not refused

    async def try_to_put(self, count: int, server: int = 0) -> list[StoreError]:
        """Store some entries at once; gives what was said where one could not be kept."""
        given = [an_entry() for _ in range(count)]
        results = await asyncio.gather(*map(self.server(server).store, given), return_exceptions=True)
        refused = []
        for entry, result in zip(given, results, strict=True):
            if isinstance(result, StoreError):
                self.doubtful.add(entry)
                refused.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                assert entries(result.bucket).count(entry) == 1
                self.note(entry, result.bucket_id)
        return refused

    def note(self, entry: bytes, bucket_id: BucketId) -> None:
        """Let the model have an entry that was acknowledged, or else found in the store."""
        if bucket_id != self.open_id:
            assert bucket_id not in self.used
            assert bucket_id.created_at == int(self.clock.now)
            assert self.open_id is None or len(self.buckets[self.open_id]) == BUCKET_ENTRIES
            self.used.add(bucket_id)
            self.buckets[bucket_id] = set()
            self.open_id = bucket_id
        self.buckets[bucket_id].add(entry)

    @rule(seconds=STEPS)
    def move_clock(self, seconds: int) -> None:
        self.jump(seconds)
        self.run(self.settled())

    async def settled(self) -> None:
        """Wait until the store has erased and closed what the time asks for; the clock may be set back next."""
        await until_kept(self.store, len(self.buckets))
        if self.open_id is None:
            await until_closed(self.store)

    def jump(self, seconds: int) -> None:
        """Set the clock, and let the model close and erase what it must."""
        self.clock.now += seconds
        now = self.clock.now
        if self.open_id is not None and not self.open_id.created_at <= now < self.open_id.created_at + self.WINDOW:
            self.open_id = None
        gone = [bucket_id for bucket_id in self.buckets if bucket_id.created_at + self.LIFETIME <= now]
        self.expired |= {bucket_id: self.buckets.pop(bucket_id) for bucket_id in gone}

    @rule(server=st.integers(0, 1))
    def restart(self, server: int) -> None:
        self.run(self.server(server).close())
        self.stores[server % self.SERVERS] = self.run(self.open())

    async def fetched(self, bucket_id: BucketId, server: int) -> bytes | None:
        return await self.server(server).fetch(cheap_link(bucket_id))

    @rule(which=st.integers(0, 1000), server=st.integers(0, 1))
    def fetch(self, which: int, server: int) -> None:
        if not self.used:
            return
        bucket_id = sorted(self.used)[which % len(self.used)]
        bucket = self.run(self.fetched(bucket_id, server))
        assert (bucket is None) == (bucket_id not in self.buckets)
        assert bucket is None or self.buckets[bucket_id] <= set(entries(bucket))

    @invariant()
    def nothing_is_overfull(self) -> None:
        assert all(len(held) <= BUCKET_ENTRIES for held in self.buckets.values())
        assert self.run(self.store.totals()).buckets == len(self.buckets)

    # What is there after something went wrong

    async def look(self) -> None:
        """See that the store has all that the model has; let the model have what was refused and is there."""
        async for _ in self.store.export():
            pass  # this may be what has it open its file again, and find what was refused and is there
        kept = {
            one.bucket_id: entries(one.content)
            async for one in self.store.export()
            if isinstance(one, KeptBucket) and one.bucket_id.created_at + self.LIFETIME > self.clock.now
        }
        for bucket_id, held in self.buckets.items():
            assert bucket_id in kept, "a bucket that was acknowledged is lost"
            assert all(kept[bucket_id].count(entry) == 1 for entry in held), "an entry is lost, or there twice"
        for bucket_id in sorted(kept):
            there = [entry for entry in kept[bucket_id] if entry in self.doubtful]
            assert there or bucket_id in self.buckets, "a bucket came out of nothing"
            for entry in there:
                self.doubtful.remove(entry)  # a second one would be found nowhere
                if bucket_id in self.buckets:
                    self.buckets[bucket_id].add(entry)
                else:
                    self.note(entry, bucket_id)
        everywhere = [entry for held in kept.values() for entry in held]
        assert len(everywhere) == len(set(everywhere)), "an entry is in two places"
        await self.settled()
