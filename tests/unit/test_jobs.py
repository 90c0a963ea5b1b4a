"""Jobs come to the thread that writes together, as far as they are expected to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from onion_rdv.storage import jobs
from onion_rdv.storage.jobs import ENOUGH, Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

FOR_EVER = 600.0
"""Seconds that no test waits: whoever waits so long is woken by what comes."""


class Taking:
    """Jobs, each a number of writes, and a thread that takes some of them."""

    def __init__(self) -> None:
        self.jobs: Jobs[int] = Jobs(lambda job: job)
        self.thread = ThreadPoolExecutor(1)

    def put(self, *some: int) -> None:
        for job in some:
            self.jobs.put(job)

    def take(self) -> Future[list[int]]:
        """Begin to take."""
        begun = threading.Event()

        def take() -> list[int]:
            begun.set()
            return self.jobs.take(FOR_EVER)

        taken = self.thread.submit(take)
        begun.wait()
        return taken


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taking]:
    monkeypatch.setattr(jobs, "LONGEST_WAIT", FOR_EVER)
    taking = Taking()
    yield taking
    taking.thread.shutdown()


def test_all_that_wait_are_taken_in_their_order(taking: Taking) -> None:
    taking.put(1, 0, 3)
    assert not taking.jobs.empty()
    assert taking.take().result() == [1, 0, 3]
    assert taking.jobs.empty()
    assert taking.jobs.take(0) == []


@pytest.mark.parametrize("job", [0, 1])
def test_one_that_comes_alone_is_not_kept_waiting(taking: Taking, job: int) -> None:
    taken = taking.take()
    taking.put(job)
    assert taken.result() == [job]


def test_who_was_answered_is_waited_for(taking: Taking) -> None:
    taking.put(1)  # came while those were written
    taking.jobs.wrote(3, FOR_EVER)
    taken = taking.take()
    taking.put(1, 1)
    taking.put(1)
    assert taken.result() == [1, 1, 1, 1]
    taking.put(1)  # nothing was written, so nobody is expected
    assert taking.take().result() == [1]


def test_who_was_answered_and_has_come_again_is_not_waited_for_twice(taking: Taking) -> None:
    taking.put(1)
    taking.jobs.wrote(3, FOR_EVER)
    taking.put(1, 2)
    assert taking.take().result() == [1, 1, 2]


def test_no_more_are_waited_for_than_are_enough(taking: Taking) -> None:
    taking.jobs.wrote(10 * ENOUGH, FOR_EVER)
    taking.put(ENOUGH - 1, 1)
    assert taking.take().result() == [ENOUGH - 1, 1]


@pytest.mark.parametrize("before", [True, False])
def test_who_wants_nothing_written_waits_for_nobody(taking: Taking, before: bool) -> None:
    taking.jobs.wrote(3, FOR_EVER)
    taking.put(1)
    if before:
        taking.put(0)
        assert taking.take().result() == [1, 0]
    else:
        taken = taking.take()
        taking.put(0)
        assert taken.result() == [1, 0]


def test_who_does_not_come_back_is_not_waited_for_long(taking: Taking) -> None:
    taking.jobs.wrote(3, 0.001)
    taking.put(1)
    assert taking.take().result() == [1]
