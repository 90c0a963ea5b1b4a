"""Nothing that was acknowledged is lost, whatever is killed, restarted or cut off meanwhile.

``make soak`` does it for ten minutes: ``SOAK_SECONDS`` says for how long. What befalls the server is drawn from a
seed that is told first; ``SOAK_SEED`` brings the same again.
"""

from __future__ import annotations

import os
import secrets
import sys
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from command_line import environment
from fakes import OlderTor
from soaking import TROUBLES, Soak, troubles

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.testnet import Keeper, Network

SECONDS = int(os.environ.get("SOAK_SECONDS", "20"))
SEED = os.environ.get("SOAK_SEED") or secrets.token_hex(4)


def tell(words: str) -> None:
    sys.stderr.write(f"soak: {words}\n")
    sys.stderr.flush()


@pytest.mark.timeout(SECONDS + 600)
async def test_every_acknowledged_link_is_fetched(network: Network, keeper: Keeper, tmp_path: Path) -> None:
    control = OlderTor(network.service_control)
    async with control.serving():
        env = environment(tmp_path, **network.environment()) | {"ONION_RDV_CONTROL": control.address}
        soak = Soak(env, keeper, control, tell, SEED)
        await soak.run(SECONDS)
    assert soak.fetched == soak.acknowledged > 0


def test_a_seed_brings_the_same_troubles_again() -> None:
    first, again, other = (list(islice(troubles(seed), 200)) for seed in ("one", "one", "another"))
    assert first == again != other
    assert {what for what, _ in first} == {*TROUBLES}
