"""How links of buckets are computed beside everything else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY, START, cheap_link

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
