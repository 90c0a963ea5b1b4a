"""What tests of stores are given: each kind of store in turn, a clock that they set, links that cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stores import IMPLEMENTATIONS, ONION_KEY, Clock, OpenStore, cheap_link

from onion_rdv.rendezvous import links

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.rendezvous.store import BucketStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=IMPLEMENTATIONS)
async def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[OpenStore]:
    """Open the one store of this test, again and again if it likes."""
    opened: list[BucketStore] = []

    async def open_it(onion_key: bytes = ONION_KEY, **settings: Any) -> BucketStore:
        store = await IMPLEMENTATIONS[request.param](tmp_path, onion_key, clock=clock, **settings)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        await store.close()


@pytest.fixture
def _cheap_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let links cost nothing, for tests that open many buckets."""
    monkeypatch.setattr(links, "bucket_link", cheap_link)
