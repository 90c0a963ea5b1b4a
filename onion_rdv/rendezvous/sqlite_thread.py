"""The one thread that works on a store's file: it does what is asked of it in order, and minds the time.

All the stores that wait are placed in one transaction, so that they share one write to the disk. Whenever anything
fails, the file is closed and what is known of it forgotten: the next try begins from what is really on the disk.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from onion_rdv.errors import StoreError, TooManyBuckets
from onion_rdv.rendezvous.sqlite_file import LOST, StoreFile
from onion_rdv.rendezvous.sqlite_jobs import Fetch, Found, Job, Link, Outcome, Stop, Store, Work, Written
from onion_rdv.rendezvous.store import StoredBucket, Totals
from onion_rdv.rendezvous.usage import Unsaved, Usage
from onion_rdv.storage.faults import Complaints, Faults, again
from onion_rdv.storage.file import size_of
from onion_rdv.storage.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from onion_rdv.rendezvous.filling import FillingBucket
    from onion_rdv.rendezvous.rules import Rules

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_FORGET_LATEST = 1.0
"""Seconds for which the log may keep earlier states of a bucket that became full while stores keep coming."""

_FORGET_WHEN_IDLE = 0.05
"""Seconds without anything to do after which the log forgets them: that takes longer than several stores."""

_ERASED_AT_ONCE = 64
"""Buckets in one transaction of erasing, so that stores need not wait for long."""

_PAGES_AT_ONCE = 4096
"""Free pages given back to the file system at once, for the same reason."""


class FileThread:
    """Works on the file; whatever a round of work brought about is given to ``report``, in the thread."""

    def __init__(
        self,
        path: Path,
        onion_key: bytes,
        rules: Rules,
        *,
        tick: float,
        clock: Callable[[], float],
        randomness: Random,
        report: Callable[[Outcome | Found | StoreError | None], None],
    ) -> None:
        self._path = path
        self._onion_key = onion_key
        self._rules = rules
        self._tick = tick
        self._clock = clock
        self._random = randomness
        self._report = report
        self._jobs: Jobs[Job] = Jobs(_stores_in)
        self._thread = threading.Thread(target=self._run, name="onion-rdv store", daemon=True)
        self.usage = Usage()
        self.buckets = 0
        self.opened = 0

        # What is known of the file while it is open.
        self._file: StoreFile | None = None
        self._filling: FillingBucket | None = None
        self._oldest: int | None = None
        self._unsaved: Unsaved | None = None  # what the transaction that is under way adds to the totals

        self._links: dict[bytes, Link] = {}  # computed and not yet written
        self._forget_by: float | None = None  # when the log must have forgotten earlier states (monotonic clock)
        self._in_a_hurry = False  # something was left for right after the jobs that wait
        self._has_begun = False
        self._complaints = Complaints(_LOGGER)
        self._faults = Faults(path, LOST, _LOGGER, self._drop_file).turned

    def start(self) -> None:
        """Open the file and begin; :class:`Found`, or what is in the way, is reported."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Ask for something; after :class:`Stop`, None is reported last and nothing more may be asked for."""
        self._jobs.put(job)

    def join(self) -> None:
        """Wait for the end of the thread, which must have been told to stop or have failed to start."""
        self._thread.join()

    def totals(self) -> Totals:
        """Give the sums that an operator may know, as the thread knows them; any thread may ask."""
        usage = self.usage
        return Totals(
            buckets=self.buckets,
            open=int(self._filling is not None),
            oldest=self._oldest,
            size=size_of(self._path),
            opened=self.opened,
            stored=usage.stored,
            fetched=usage.fetched,
            stored_on_disk=usage.told[0],
            fetched_on_disk=usage.told[1],
        )

    # All that follows runs in the thread.

    def _run(self) -> None:
        try:
            with self._faults(tells=False):
                self.usage = self._open().usage()
            self._tend_quietly()
            with self._faults(tells=False):
                self._report(self._look(self._open()))
        except StoreError as error:
            self._drop_file()
            self._report(error)
            return
        self._has_begun = True
        going_on = True
        while going_on:
            jobs = self._jobs.take(self._patience())
            going_on = not any(isinstance(job, Stop) for job in jobs)
            outcome = self._serve(jobs)
            if outcome.stored or outcome.found or outcome.done:
                self._report(outcome)
            self._tend_quietly(is_idle=not jobs)
        with contextlib.suppress(StoreError), self._faults():
            self._save_usage()
        self._drop_file()
        self._report(None)

    def _patience(self) -> float:
        if self._in_a_hurry:
            return 0
        return self._tick if self._forget_by is None else min(self._tick, _FORGET_WHEN_IDLE)

    def _serve(self, jobs: list[Job]) -> Outcome:
        outcome = Outcome()
        waiting = [entry for job in jobs if isinstance(job, Store) for entry in job.entries]
        self._links |= {job.link: job for job in jobs if isinstance(job, Link)}
        if waiting or self._links:
            try:
                start = time.monotonic()
                with self._faults():
                    stored = self._commit([entry for entry, _ in waiting], outcome.written)
                self._jobs.wrote(len(stored), time.monotonic() - start)
                outcome.stored.extend(zip((future for _, future in waiting), stored, strict=True))
            except StoreError as error:
                outcome.written.clear()
                outcome.stored.extend((future, again(error)) for _, future in waiting)
        outcome.found.extend((job, self._read(job.link)) for job in jobs if isinstance(job, Fetch))
        outcome.done.extend((job.answer, self._work(job)) for job in jobs if isinstance(job, Work))
        return outcome

    def _read(self, link: bytes) -> bytes | StoreError | None:
        try:
            with self._faults():
                made = self._links.get(link)
                return self._open().read(link, None if made is None else made.key)
        except StoreError as error:
            return error

    def _work(self, job: Work) -> Any:
        try:
            with self._faults():
                file = self._open()
                if self._links:
                    self._commit([], [])  # it failed a moment ago; without their links, buckets would be passed over
                if not job.writes:
                    return job.do(file)
                with file.transaction():
                    result = job.do(file)
                self._learn(file)
                self.usage = file.usage()
                return result
        except StoreError as error:
            return error

    def _commit(self, entries: list[bytes], written: list[Written]) -> list[StoredBucket | StoreError]:
        """Write links and entries in one transaction; ``written`` gets the new states of buckets."""
        file = self._open()
        now = self._clock()
        with file.transaction():
            for made in self._links.values():
                file.set_link(made.key, made.bucket_id, made.link)
            if entries and self._is_overdue(now):
                self._close_bucket(file, forget_by=time.monotonic())
            stored = self._place(file, entries, int(now), written)
        self._note_saved()
        if self._links and self._filling is None:
            self._forget_by = self._forget_by or time.monotonic() + _FORGET_LATEST
        self._links.clear()
        self.usage.stored += sum(isinstance(place, StoredBucket) for place in stored)
        if opened := sum(bucket.is_new for bucket in written):
            self.opened += opened
            self.buckets += opened
            self._oldest = file.oldest()
        return stored

    def _place(
        self, file: StoreFile, entries: list[bytes], now: int, written: list[Written]
    ) -> list[StoredBucket | StoreError]:
        """Put entries into the open bucket and into new ones; those that need more than may be opened are refused."""
        stored: list[StoredBucket | StoreError] = []
        while len(stored) < len(entries):
            is_new = self._filling is None
            try:
                filling = self._filling = self._filling or file.open_bucket(now, self._rules.ceiling, self._random)
            except TooManyBuckets as error:
                self._complaints.tell(error)
                return [*stored, *(again(error) for _ in entries[len(stored) :])]
            here = entries[len(stored) : len(stored) + filling.room]
            for entry in here:
                filling.put(entry)
            content = filling.content()
            file.write(filling, content)
            written.append(Written(filling.key, filling.bucket_id, content, is_new))
            stored += [StoredBucket(filling.bucket_id, content)] * len(here)
            if not filling.room:
                self._close_bucket(file, forget_by=time.monotonic() + _FORGET_LATEST)
        return stored

    def _is_overdue(self, now: float) -> bool:
        return self._filling is not None and not self._filling.is_current(now, self._rules.window)

    def _close_bucket(self, file: StoreFile, *, forget_by: float) -> None:
        file.close_bucket()
        if self._unsaved is None:  # once in a transaction, however many buckets close
            self._add_usage(file)
        self._filling = None
        self._forget_by = min(forget_by, self._forget_by or forget_by)

    def _tend_quietly(self, *, is_idle: bool = True) -> None:
        """Do what the time of day asks for; what cannot be done now is tried again at the next tick."""
        with contextlib.suppress(StoreError), self._faults():
            self._tend(is_idle=is_idle)

    def _tend(self, *, is_idle: bool) -> None:
        file = self._open()
        now = self._clock()
        self._in_a_hurry = False
        if self._is_overdue(now):
            with file.transaction():
                self._close_bucket(file, forget_by=time.monotonic())
            self._note_saved()
        if self._oldest is not None and self._oldest + self._rules.lifetime <= now:
            self._erase(file, now - self._rules.lifetime)
        if self._forget_by is not None and (is_idle or time.monotonic() >= self._forget_by):
            file.forget()
            self._forget_by = None
        elif file.is_log_long:
            file.rewind()

    def _erase(self, file: StoreFile, until: float) -> None:
        with file.transaction():
            erased = dict(file.erase(until, _ERASED_AT_ONCE))
        self._links = {link: made for link, made in self._links.items() if made.key not in erased}
        self._report(Outcome(erased=[link for link in erased.values() if link is not None]))
        self._oldest = file.oldest()
        self.buckets -= len(erased)
        self._in_a_hurry = self._oldest is not None and self._oldest <= until
        self._forget_by = time.monotonic()
        file.shrink(_PAGES_AT_ONCE)

    def _save_usage(self) -> None:
        file = self._open()
        with file.transaction():
            self._add_usage(file)
        self._note_saved()
        file.forget()

    def _add_usage(self, file: StoreFile) -> None:
        self._unsaved = self.usage.unsaved(self._random)
        file.add_usage(*self._unsaved.rounded)

    def _note_saved(self) -> None:
        if self._unsaved is not None:
            self.usage.saved(self._unsaved)
            self._unsaved = None

    # The file, and its faults

    def _open(self) -> StoreFile:
        if self._file is None:
            file = self._file = StoreFile.open(self._path, self._onion_key)
            self._filling = file.resume(self._random)
            self._learn(file)  # and forget what a crash may have left in the log
            if self._has_begun:
                self._report(self._look(file))
        return self._file

    def _learn(self, file: StoreFile) -> None:
        self._oldest = file.oldest()
        self.buckets = file.count()
        self.opened = file.opened()
        self._forget_by = time.monotonic()

    def _look(self, file: StoreFile) -> Found:
        made = {link.bucket_id for link in self._links.values()}
        unlinked = [(key, bucket_id) for key, bucket_id in file.unlinked() if bucket_id not in made]
        filling = self._filling
        if filling is None:
            return Found(unlinked, None, None)
        state = Written(filling.key, filling.bucket_id, filling.content(), is_new=False)
        return Found(unlinked, state, file.link_of(filling.key))

    def _drop_file(self) -> None:
        self._filling = self._unsaved = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _stores_in(job: Job) -> int:
    return len(job.entries) if isinstance(job, Store) else 0
