"""Whoever sits at a person's guard and counts does not learn whether it was a store, a hit, or an error.

``make uniform`` is the long form, which gives figures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from uniform.comparisons import COMPARISONS, compare_twice
from uniform.requests import Outcome, watch

if TYPE_CHECKING:
    from onion_rdv.tor.testnet import Network
    from uniform.requests import Sample

ALIKE = [Outcome.STORED, Outcome.FOUND, Outcome.MISSED, Outcome.FETCH_REFUSED]
EACH = 25
"""Requests of the outcome that is to be told from others; there are three times as many of each that is not."""


async def test_nobody_at_the_guard_tells_requests_apart(network: Network, tmp_path: Path) -> None:
    async def look(outcomes: list[Outcome]) -> list[Sample]:
        return await watch(network, Path(tempfile.mkdtemp(dir=tmp_path)), outcomes, clients=6, each=EACH)

    results = await compare_twice(COMPARISONS, [*ALIKE * 3, Outcome.LONGER], look)
    assert all(result.as_it_has_to_be for result in results), "\n".join(map(str, results))
