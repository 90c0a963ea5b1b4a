"""What tests share: one private Tor network for a whole run, brought up when the first of them asks for it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from onion_rdv.tor import testnet

if TYPE_CHECKING:
    from collections.abc import Iterator


pytest_plugins = ["store_fixtures"]

# On a machine that does other things too, one example may take long; that is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


# A shell without job control has what it runs in the background ignore Ctrl-C, and that is inherited. Tests of what
# Ctrl-C does want it heard, wherever they run.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def keeper() -> Iterator[testnet.Keeper]:
    """Hold the network; it can also stop and start single tors. What a test stops it starts again."""
    with testnet.Keeper() as keeper:
        yield keeper


@pytest.fixture(scope="session")
def network(keeper: testnet.Keeper) -> testnet.Network:
    """Tell where the network's SOCKS and control ports are."""
    return keeper.network
