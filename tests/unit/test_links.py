"""How links of buckets are computed beside everything else."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY, START, cheap_link, until

from onion_rdv.protocol import BucketId
from onion_rdv.rendezvous import links

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = BucketId(START, 0)


@pytest.fixture
def told() -> dict[int, bytes]:
    return {}


@pytest.fixture
def maker(told: dict[int, bytes]) -> Iterator[links.LinkMaker]:
    maker = links.LinkMaker(ONION_KEY, lambda key, _, link: told.__setitem__(key, link))
    yield maker
    maker.close()


@pytest.mark.usefixtures("_cheap_links")
async def test_links_are_settled_when_they_have_been_told(maker: links.LinkMaker, told: dict[int, bytes]) -> None:
    maker.make(7, ID)
    # One turn of the event loop after the thread is through with it, asyncio knows and has not passed it on.
    maker._thread.submit(int).result()
    await asyncio.sleep(0)
    await maker.settled()
    assert told == {7: cheap_link(ID)}
    await maker.settled()


async def test_a_link_that_is_asked_for_twice_is_computed_once(
    maker: links.LinkMaker, told: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counted(bucket_id: BucketId, onion_key: bytes) -> bytes:
        computed.append(bucket_id)
        if len(computed) == 1:
            raise MemoryError
        return cheap_link(bucket_id, onion_key)

    monkeypatch.setattr(links, "bucket_link", counted)
    for _ in range(2):  # the first one fails, and can be asked for again
        maker.make(7, ID)
        maker.make(7, ID)
        await maker.settled()
    assert computed == [ID, ID]
    assert told == {7: cheap_link(ID)}


class Computing:
    """Computes links as told: each when it is let, in what order it was begun."""

    def __init__(self) -> None:
        self.begun: list[BucketId] = []
        self._let = threading.Semaphore(0)

    def __call__(self, bucket_id: BucketId, onion_key: bytes) -> bytes:
        self.begun.append(bucket_id)
        assert self._let.acquire(timeout=60)
        return cheap_link(bucket_id, onion_key)

    def let(self, links: int) -> None:
        for _ in range(links):
            self._let.release()


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Computing]:
    computing = Computing()
    monkeypatch.setattr(links, "bucket_link", computing)
    yield computing
    computing.let(100)


def bucket_ids(count: int) -> list[BucketId]:
    return [BucketId(START, number) for number in range(count)]


async def test_the_newest_bucket_has_its_link_first(
    computing: Computing, maker: links.LinkMaker, told: dict[int, bytes]
) -> None:
    ids = bucket_ids(4)
    maker.make(0, ids[0])
    await until(lambda: bool(computing.begun))
    for key in (1, 2, 3):
        maker.make(key, ids[key])
    computing.let(4)
    await maker.settled()
    assert computing.begun == [ids[0], ids[3], ids[2], ids[1]]
    assert told == {key: cheap_link(bucket_id) for key, bucket_id in enumerate(ids)}


async def test_who_looks_for_one_link_goes_on_when_it_is_there(computing: Computing, maker: links.LinkMaker) -> None:
    ids = bucket_ids(4)
    maker.make(0, ids[0])
    await until(lambda: bool(computing.begun))
    maker.make(1, ids[1])
    maker.make(2, ids[2])
    for_the_newest, for_nothing, for_all = (
        asyncio.create_task(maker.settled(link)) for link in (cheap_link(ids[2]), bytes(16), None)
    )
    computing.let(2)
    await for_the_newest
    await until(lambda: len(computing.begun) == 3)
    maker.make(3, ids[3])  # too late for any of them to wait for it
    assert not for_nothing.done()
    assert not for_all.done()
    computing.let(1)
    await for_nothing
    await for_all
    computing.let(1)
    assert computing.begun[:3] == [ids[0], ids[2], ids[1]]


async def test_who_waits_for_links_goes_on_when_none_will_come(computing: Computing, maker: links.LinkMaker) -> None:
    for key, bucket_id in enumerate(bucket_ids(3)):
        maker.make(key, bucket_id)
    waiting = asyncio.create_task(maker.settled())
    await until(lambda: bool(computing.begun))
    maker._thread.shutdown(wait=False, cancel_futures=True)  # as close does, which waits then
    computing.let(1)
    await waiting
    assert len(computing.begun) == 1


async def test_who_has_gone_is_not_waited_for(computing: Computing, maker: links.LinkMaker) -> None:
    maker.make(0, ID)
    waiting = asyncio.create_task(maker.settled())
    await until(maker._somebody_waits.is_set)
    waiting.cancel()
    await until(lambda: not maker._somebody_waits.is_set())
    computing.let(1)
    await maker.settled()
