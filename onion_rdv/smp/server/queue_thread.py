"""The one thread that works on the file with the queues: it does what is asked of it in order, and minds the time.

Whatever waits is done in one transaction, so that many messages share one write to the disk. Whenever anything fails,
nothing of that transaction happened, and the next try begins with a file that is opened anew.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onion_rdv.errors import StoreError
from onion_rdv.smp.server.queue_file import LOST, QueueFile
from onion_rdv.storage.faults import Faults, again
from onion_rdv.storage.jobs import Jobs

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable
    from pathlib import Path

_LOGGER = logging.getLogger("onion_rdv.messaging")

_FORGET_LATEST = 1.0
"""Seconds for which the log may keep what was written, and with it what was erased since."""

_ERASED_AT_ONCE = 64
"""Messages in one transaction of erasing, so that others need not wait for long."""

_PAGES_AT_ONCE = 4096
"""Free pages given back to the file system at once, for the same reason."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do with the file, and who waits for what comes of it.

    ``learn`` is told of it before, in the event loop and in the order of the work.
    """

    work: Callable[[QueueFile], Any]
    writes: bool
    answer: Future[Any]
    learn: Callable[[Any], None] | None = None


Done = list[tuple[Job, Any]]
"""Jobs with what came of each."""


class FileThread:
    """Works on the file; what comes of it is given to ``report``, in the thread.

    The first report is None where the file could be opened, or :class:`~onion_rdv.errors.StoreError`; the last is
    None again.
    """

    def __init__(
        self,
        path: Path,
        lifetime: float,
        tick: float,
        *,
        clock: Callable[[], float],
        report: Callable[[Done | StoreError | None], None],
    ) -> None:
        self._path = path
        self._lifetime = lifetime
        self._tick = tick
        self._clock = clock
        self._report = report
        self._jobs: Jobs[list[Job]] = Jobs(_writes)
        self._thread = threading.Thread(target=self._run, name="onion-rdv queues", daemon=True)
        self._faults = Faults(path, LOST, _LOGGER, self._drop_file).turned
        self._file: QueueFile | None = None
        self._forget_by: float | None = None  # when the log must have forgotten (monotonic clock)
        self._tend_at = 0.0  # when to look at the time of day again (monotonic clock)

    def start(self) -> None:
        """Open the file and begin."""
        self._thread.start()

    def put(self, jobs: list[Job]) -> None:
        """Ask for something; nothing is the end."""
        self._jobs.put(jobs)

    def join(self) -> None:
        """Wait for the end of the thread, which must have been told to stop or have failed to start."""
        self._thread.join()

    # All that follows runs in the thread.

    def _run(self) -> None:
        try:
            with self._faults(tells=False):
                self._open().forget()  # what a crash may have left in the log
        except StoreError as error:
            self._report(error)
            return
        self._report(None)
        going_on = True
        while going_on:
            taken = self._jobs.take(self._patience())
            going_on = all(taken)  # an empty one is the end
            if jobs := [job for some in taken for job in some]:
                self._report(self._do(jobs))
            with contextlib.suppress(StoreError), self._faults():
                self._tend(last=not going_on)
        self._drop_file()
        self._report(None)

    def _patience(self) -> float:
        until = self._tend_at if self._forget_by is None else min(self._tend_at, self._forget_by)
        return max(0.0, until - time.monotonic())

    def _do(self, jobs: list[Job]) -> Done:
        start = time.monotonic()
        try:
            with self._faults():
                file = self._open()
                with file.transaction():
                    results = [job.work(file) for job in jobs]
        except StoreError as error:
            return [(job, again(error)) for job in jobs]
        end = time.monotonic()
        if writes := _writes(jobs):
            self._jobs.wrote(writes, end - start)
            self._forget_by = self._forget_by or end + _FORGET_LATEST
        return list(zip(jobs, results, strict=True))

    def _tend(self, *, last: bool) -> None:
        """Do what the time asks for; what cannot be done now is tried again later."""
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + self._tick
            file = self._open()
            with file.transaction():
                erased = file.expire(self._clock() - self._lifetime, _ERASED_AT_ONCE)
            if erased == _ERASED_AT_ONCE:
                self._tend_at = now
            elif self._jobs.empty():
                file.shrink(_PAGES_AT_ONCE)
            self._forget_by = now
        if self._forget_by is not None and (last or now >= self._forget_by):
            self._open().forget()
            self._forget_by = None

    def _open(self) -> QueueFile:
        if self._file is None:
            self._file = QueueFile.open(self._path)
            self._forget_by = time.monotonic()
        return self._file

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _writes(jobs: list[Job]) -> int:
    return sum(job.writes for job in jobs)
