"""Jobs for the one thread that works on a store's file, and how many of them come together for one write."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from onion_rdv.errors import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

LONGEST_WAIT = 0.02
"""Seconds that a job waits for others at most, however long a disk that was stalled took for the last ones."""


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
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._writes = writes
        self._last_writes = 0  # how many the last transaction had, and how long it took
        self._last_duration = 0.0

    def put(self, job: _Job) -> None:
        """Ask for something."""
        self._jobs.put(job)

    def empty(self) -> bool:
        """Tell whether nothing waits."""
        return self._jobs.empty()

    def take(self, patience: float) -> list[_Job]:
        """Take all that wait, or those that come within ``patience`` seconds, in their order."""
        jobs = []
        with contextlib.suppress(queue.Empty):
            jobs.append(self._jobs.get(timeout=patience))
            while True:
                jobs.append(self._jobs.get_nowait())
        self._wait_for_company(jobs)
        return jobs

    def wrote(self, writes: int, duration: float) -> None:
        """Note how many were written in a transaction, and how long it took."""
        self._last_writes, self._last_duration = writes, duration

    def _wait_for_company(self, jobs: list[_Job]) -> None:
        """Let as many come together as in the last transaction, for at most half the time that it took.

        Who has just been answered and asks again comes a moment after this. Without waiting, one early job would be
        written alone while all the others queue, and so would the next: half as many for each write to the disk.
        """
        missing = self._last_writes - sum(map(self._writes, jobs))
        if missing == self._last_writes:
            return
        deadline = time.monotonic() + min(self._last_duration / 2, LONGEST_WAIT)
        with contextlib.suppress(queue.Empty):
            while missing > 0 and (patience := deadline - time.monotonic()) > 0:
                job = self._jobs.get(timeout=patience)
                jobs.append(job)
                missing -= self._writes(job)
