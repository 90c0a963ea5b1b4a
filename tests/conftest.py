"""What tests share: one private Tor network for a whole run, brought up when the first of them asks for it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from onion_rdv.tor import testnet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytest_plugins = ["store_fixtures"]

# On a machine that does other things too, one example may take long; that is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


# A shell without job control has what it runs in the background ignore Ctrl-C, and nohup has it ignore the terminal's
# end; that is inherited. Tests of what these do want them heard, wherever they run.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread tests over the processes that share them (pytest -n), where there are any.

    All that use the one private network stay in one process, those that bring up networks of their own in another:
    they take longest, mostly by waiting, and begin first.
    """
    over_tor = [item for item in items if item.path.parent.name == "tor"]
    for item in over_tor:
        shares = "network" in item.fixturenames  # type: ignore[attr-defined]
        item.add_marker(pytest.mark.xdist_group("the network" if shares else "networks of their own"))
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: item not in over_tor)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory with a short name: the whole path of a Unix socket in it may have 107 bytes."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture(scope="session")
def keeper() -> Iterator[testnet.Keeper]:
    """Hold the network; it can also stop and start single tors. What a test stops it starts again."""
    with testnet.Keeper() as keeper:
        yield keeper


@pytest.fixture(scope="session")
def network(keeper: testnet.Keeper) -> testnet.Network:
    """Tell where the network's SOCKS and control ports are."""
    return keeper.network
