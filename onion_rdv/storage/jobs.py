"""Jobs for the one thread that works on a store's file, and how many of them come together for one write."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from onion_rdv.errors import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

SHORTEST_WAIT = 0.002
LONGEST_WAIT = 0.02
"""Seconds that a job waits for others at most, however quick the disk was with the last ones, or slow."""

ENOUGH = 64
"""Writes that wait for no more: the disk takes little longer for so many than for one."""


def settle(future: asyncio.Future[_Result], result: _Result | StoreError) -> None:
    """Answer whoever waits for a job, with a result or an error, unless they have gone."""
    if future.done():
        return
    if isinstance(result, StoreError):
        future.set_exception(result)
    else:
        future.set_result(result)


class Jobs(Generic[_Job]):
    """A queue of jobs; any thread puts them in, one takes them out."""

    def __init__(self, writes: Callable[[_Job], int]) -> None:
        """Begin; ``writes`` tells how many have to be written for a job."""
        self._writes = writes
        self._jobs: list[_Job] = []
        self._waiting = 0  # how many have to be written for those
        self._has_others = False  # whether there are some for which nothing has to be written
        self._enough = threading.Condition(threading.Lock())
        self._wanted = 0  # the taker is woken when so many have to be written
        self._expected = 0  # how many there may be soon after the last transaction, and how long that one took
        self._last_duration = 0.0

    def put(self, job: _Job) -> None:
        """Ask for something."""
        writes = self._writes(job)
        with self._enough:
            self._jobs.append(job)
            self._waiting += writes
            self._has_others = self._has_others or not writes
            if self._has_others or self._waiting >= self._wanted:
                self._enough.notify()

    def empty(self) -> bool:
        """Tell whether nothing waits."""
        return not self._jobs

    def take(self, patience: float) -> list[_Job]:
        """Take all that wait, or those that come within ``patience`` seconds, in their order."""
        with self._enough:
            self._wait_for_company(patience)
            if not self._jobs:
                self._wanted = 1
                self._enough.wait(patience)
            jobs, self._jobs = self._jobs, []
            self._waiting, self._has_others = 0, False
        return jobs

    def wrote(self, writes: int, duration: float) -> None:
        """Note how many were written in a transaction, and how long it took, before anybody is told."""
        self._expected, self._last_duration = self._waiting + writes, duration

    def _wait_for_company(self, patience: float) -> None:
        """Right after a transaction, let those come together who wait already and whom it answered.

        Who has just been answered and asks again comes a moment after this. Without waiting, one early job would be
        written alone while all the others queue, and so would the next: half as many for each write to the disk. The
        thread sleeps until all are there: whenever it wakes up, it takes the interpreter from the event loop.
        """
        self._wanted, self._expected = min(self._expected, ENOUGH), 0
        if self._waiting < self._wanted and not self._has_others:
            self._enough.wait(min(max(2 * self._last_duration, SHORTEST_WAIT), LONGEST_WAIT, patience))
