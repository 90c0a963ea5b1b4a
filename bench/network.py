"""A private Tor network for what is measured on real tors, and services on it; all of it on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness import ended

from onion_rdv.tor import testnet
from onion_rdv.tor.control import Control, connect
from onion_rdv.tor.onion_service import EphemeralService, OnionService, ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

Network = testnet.Network

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.example.org"
"""What is handed over, where it matters that it is a link."""


_TO_ONION_SERVICES = re.compile(r"^([0-9]+) .* PURPOSE=HS_CLIENT_(?:REND|INTRO)\b", re.MULTILINE)


@contextlib.contextmanager
def private_network() -> Iterator[Network]:
    """Boot a network, ready in some 20 seconds; one is enough for all parts of a run."""
    with testnet.Keeper() as keeper:
        yield keeper.network


@contextlib.contextmanager
def published(network: Network, target: Path | int, *, proof_of_work: bool = False) -> Iterator[str]:
    """Publish what listens on a Unix socket, or at a port of 127.0.0.1, as an onion service; gives its address.

    Its port is 80. By default without proof of work, which costs nothing that could be measured at no effort.
    """

    async def open_control() -> Control:
        return await connect(network.service_control)

    where = target if isinstance(target, Path) else f"127.0.0.1:{target}"
    with tempfile.TemporaryDirectory() as keys, asyncio.Runner() as runner:
        way = EphemeralService(ServiceSettings(where, proof_of_work=proof_of_work), Path(keys) / "key")
        service = OnionService(way, open_control)
        runner.run(service.publish())
        try:
            yield service.address
        finally:
            runner.run(service.stop())


@contextlib.contextmanager
def serving(network: Network, directory: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Run ``onion-rdv serve`` on a network, as operators do; gives the server's name for clients and its process id.

    It keeps what it has in ``directory``.
    """
    command = [sys.executable, "-m", "onion_rdv", "serve", "--json", *options]
    env = environment(network, directory)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process, ended(process):
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError("the rendezvous server did not start")
        yield json.loads(line)["server"], process.pid


def close_circuits(network: Network, rest: float) -> None:
    """Close the circuits to onion services that the clients' tor has, which goes on knowing their descriptors.

    tor would keep those that were used for ten minutes, and is the slower the more it has. In the ``rest``, of some
    tenths of a second, all tors hear of it; in a second the clients' has new ones in store, too, as it likes to.
    """

    async def close() -> None:
        async with await connect(network.client_control) as control:
            for number in _TO_ONION_SERVICES.findall(await control.info("circuit-status")):
                await control.msg(f"CLOSECIRCUIT {number}")
        await asyncio.sleep(rest)

    asyncio.run(close())


def environment(network: Network, home: Path) -> dict[str, str]:
    """Give the environment of a command that uses a network, and whose settings and files are in ``home``."""
    return lone_environment(home) | network.environment()


def lone_environment(home: Path) -> dict[str, str]:
    """Give the environment of a command that uses no network that it did not start."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LANG", "LC_"))}
    return kept | {"HOME": str(home), "TMPDIR": str(home)}
