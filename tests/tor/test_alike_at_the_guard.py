"""Whoever sits at a person's guard and counts does not learn whether it was a store, a hit, or an error.

``make uniform`` is the long form, which gives figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uniform.comparisons import COMPARISONS, SENSITIVITY, compare
from uniform.requests import Outcome, watch

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.testnet import Network


async def test_nobody_at_the_guard_tells_requests_apart(network: Network, tmp_path: Path) -> None:
    left_out = {Outcome.STORE_REFUSED, *SENSITIVITY.one}
    outcomes = [outcome for outcome in Outcome if outcome not in left_out]
    samples = await watch(network, tmp_path, outcomes, clients=4, each=30)
    results = [compare(comparison, samples) for comparison in COMPARISONS]
    assert all(result.as_it_has_to_be for result in results), "\n".join(map(str, results))
