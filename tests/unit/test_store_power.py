"""The store in a SQLite file, while the power is cut or the disk fails before any write: against the model."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from power import Disk
from sqlite_vfs import guarded
from store_machine import STEPS, StoreMachine
from stores import cheap_link, open_sqlite, until

from onion_rdv.errors import StoreError
from onion_rdv.rendezvous.kept import KeptBucket
from onion_rdv.storage import file as storage_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OPERATIONS = st.integers(0, 30)
"""After how many writes, cuts, syncs and removals something goes wrong; a store of one entry takes about 15."""


class PowerMachine(StoreMachine):
    """A store on a disk that loses power, or fails for a moment, in the middle of any step."""

    open_it = staticmethod(open_sqlite)
    disk: ClassVar[Disk]

    def new_place(self) -> Path:
        place = super().new_place()
        self.disk.use(place)
        return place

    @rule(count=st.integers(1, 150), operations=OPERATIONS, seed=st.integers())
    def cut_while_storing(self, count: int, operations: int, seed: int) -> None:
        self.disk.cut_after(operations, Random(seed))
        self.run(self.try_to_put(count))
        self.come_back(Random(seed))

    @rule(seconds=STEPS, operations=OPERATIONS, seed=st.integers())
    def cut_while_closing_and_erasing(self, seconds: int, operations: int, seed: int) -> None:
        self.disk.cut_after(operations, Random(seed))
        self.let_pass(seconds)
        self.come_back(Random(seed))

    @rule(operations=OPERATIONS, seed=st.integers())
    def cut_while_restarting(self, operations: int, seed: int) -> None:
        self.disk.cut_after(operations, Random(seed))
        self.try_to_restart()
        self.come_back(Random(seed))

    @rule(count=st.integers(1, 150), operations=OPERATIONS, times=st.integers(1, 6), seed=st.integers())
    def fail_while_storing(self, count: int, operations: int, times: int, seed: int) -> None:
        self.disk.fail_after(operations, times, Random(seed))
        self.run(self.try_to_put(count))
        self.go_on()

    @rule(seconds=STEPS, operations=OPERATIONS, times=st.integers(1, 6), seed=st.integers())
    def fail_while_closing_and_erasing(self, seconds: int, operations: int, times: int, seed: int) -> None:
        self.disk.fail_after(operations, times, Random(seed))
        self.let_pass(seconds)
        self.go_on()

    def let_pass(self, seconds: int) -> None:
        """Set the clock, and wait until the store has done what the time asks for, or the power is cut."""

        async def seen() -> None:
            looks = self.clock.looks
            await until(lambda: self.disk.is_off or self.clock.looks > looks + 1)

        self.jump(seconds)
        self.run(seen())

    def try_to_restart(self) -> None:
        self.run(self.store.close())
        with suppress(StoreError):
            self.stores = [self.run(self.open())]

    def come_back(self, randomness: Random) -> None:
        """Start again where the power came back; it is cut now, unless it is."""
        self.run(self.store.close())
        self.place = StoreMachine.new_place(self)
        self.disk.come_back(self.place, randomness)
        self.stores = [self.run(self.open())]
        self.see()

    def go_on(self) -> None:
        """Have the disk work again; the store has to come to its senses by itself."""
        self.disk.be_well()
        self.see()

    def see(self) -> None:
        self.run(self.look())
        self.run(self.nothing_expired_is_there())

    async def give_out_all(self) -> None:
        """See that what is given out is whole, unless it is refused."""
        given = {one.bucket_id async for one in self.store.export() if isinstance(one, KeptBucket)}
        assert set(self.buckets) <= given, "a bucket that was acknowledged is passed over"

    async def nothing_expired_is_there(self) -> None:
        """See that what has expired leaves the file, its free pages and the log."""

        def is_gone() -> bool:
            data = b"".join(file.read_bytes() for file in self.place.iterdir())
            return not any(piece in data for piece in pieces)

        pieces = [cheap_link(bucket_id) for bucket_id in self.expired]
        pieces += [entry[:64] for held in self.expired.values() for entry in list(held)[:2]]
        await until(is_gone)

    def live(self) -> Iterator[None]:
        """Do all that a store ever does, step by step; does not see whether it worked."""

        def put(entries: int) -> None:
            self.run(self.try_to_put(entries))

        steps: list[Callable[[], None]] = [
            *(partial(put, entries) for entries in (2, 130, 1)),
            partial(self.let_pass, self.WINDOW),
            partial(put, 3),
            self.try_to_restart,
            partial(self.let_pass, self.LIFETIME - self.WINDOW),
            partial(put, 1),
            partial(self.let_pass, self.LIFETIME),
            partial(put, 1),
        ]
        for step in steps:
            step()
            yield


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PowerMachine]]:
    monkeypatch.setattr(storage_file, "LONGEST_LOG", 3)  # so that it is often written from its beginning again

    class Machine(PowerMachine):
        directory = tmp_path
        disk = Disk()

    with guarded(Machine.disk):
        yield Machine


pytestmark = pytest.mark.usefixtures("_cheap_links")


def test_no_cut_of_the_power_and_no_fault_of_the_disk_loses_anything(machines: type[PowerMachine]) -> None:
    run_state_machine_as_test(machines, settings=settings(max_examples=30, stateful_step_count=20, deadline=None))


def test_a_cut_of_the_power_before_each_single_write_of_a_stores_life(machines: type[PowerMachine]) -> None:
    for moment in count():
        machine = machines()
        machine.disk.cut_after(moment, Random(moment))
        for _ in machine.live():
            if machine.disk.is_off:
                break
        was_cut = machine.disk.is_off
        machine.come_back(Random(moment))
        machine.put(1, 0)
        machine.teardown()
        if not was_cut:
            break
    assert moment > 200, "a store's life has more writes than that"


def test_a_fault_of_the_disk_at_every_third_write_of_a_stores_life(machines: type[PowerMachine]) -> None:
    for moment in count(step=3):
        machine, randomness = machines(), Random(moment)
        machine.disk.fail_after(moment, randomness.randint(1, 6), randomness)
        has_failed = False
        for _ in machine.live():
            if machine.disk.has_failed and not has_failed:
                has_failed = True
                machine.go_on()
        with suppress(StoreError):
            machine.run(machine.give_out_all())  # the disk may fail in the middle of it
        machine.go_on()
        machine.come_back(randomness)
        machine.teardown()
        if not has_failed:
            break
    assert moment > 200, "a store's life has more writes than that"
