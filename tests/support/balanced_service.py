"""A service on several machines, set up with the files in ``scale-out/``: its backends, and Onionbalance in front."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tomllib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import environment
from server_process import ServerProcess, serving

from onion_rdv.tor.control import Control, Event, connect
from onion_rdv.tor.own_tor import OwnTor, launch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from onion_rdv.tor.testnet import Network

ROOT = Path(__file__).parents[2]
SHIPPED_DATABASE = tomllib.loads((ROOT / "scale-out/backend/server.toml").read_text())["serve"]["database"]
_PATIENCE = 120  # seconds


def shipped(name: str, put: Mapping[str, object]) -> str:
    """Give a file that ships, as an operator fills it in: ``put`` says what stands in place of what."""
    text = (ROOT / "scale-out" / name).read_text()
    for old, new in put.items():
        assert old in text, f"{old} is not in {name}"
        text = text.replace(old, str(new))
    return text


@dataclass
class Backend:
    """A server and its tor; ``address`` is its own, which only Onionbalance uses."""

    tor: OwnTor
    server: ServerProcess
    address: str
    _control: Control
    _joined: int = 0

    async def clients(self) -> int:
        """How many circuits of clients have reached it."""
        await self._control.info("version")  # what tor tells comes in order: by the answer, all before it has come
        return self._joined

    def hear(self, event: Event) -> None:
        """Take in an event of its tor's."""
        self._joined += "PURPOSE_CHANGED" in event.text and "HS_STATE=HSSR_JOINED" in event.text

    async def die(self) -> None:
        """End as when the machine loses its power."""
        self.server.process.kill()
        os.kill(self.tor.pid, signal.SIGKILL)
        await self.server.process.wait()


@asynccontextmanager
async def backend(
    network: Network, directory: Path, *, front: str, database: str, avoids: Sequence[str]
) -> AsyncIterator[Backend]:
    """Run a backend while the block runs; its tor uses none of the relays that it ``avoids``."""
    directory.mkdir()
    service, socket, state = (directory / name for name in ("service", "web.socket", "state"))
    service.mkdir(mode=0o700)
    (service / "ob_config").write_text(shipped("backend/ob_config", {"FRONT.onion": front}))
    torrc = directory / "torrc"
    torrc.write_text(
        f"{network.torrc.read_text()}ExcludeNodes {','.join(avoids)}\n"
        + shipped("backend/torrc", {"/var/lib/tor/onion-rdv": service, "/run/onion-rdv/web.socket": socket})
    )
    tor = await launch(directory / "tor", socks=False, extra_torrc=torrc, timeout=_PATIENCE)
    try:
        put = {
            "/var/lib/onion-rdv": state,
            "unix:/run/tor/control": tor.control,
            "FRONT.onion": front,
            "/var/lib/tor/onion-rdv": service,
            "/run/onion-rdv/web.socket": socket,
            SHIPPED_DATABASE: database,
        }
        settings = directory / "server.toml"
        settings.write_text(shipped("backend/server.toml", put))
        env = environment(directory, ONION_RDV_CONFIG=str(settings))
        async with serving(env=env) as server, await connect(tor.control) as control:
            running = Backend(tor, server, (service / "hostname").read_text().strip(), control)
            await control.add_event_listener(running.hear, "CIRC_MINOR")
            yield running
    finally:
        await tor.stop()


class Balancer:
    """An Onionbalance at work, seen from the control port of its tor."""

    def __init__(self, front: str) -> None:
        self._front = front.removesuffix(".onion")
        self._descriptor = asyncio.Event()

    def hear(self, event: Event) -> None:
        """Take in an event of its tor's."""
        action, address, *_ = event.text.split()
        if (action, address) == ("UPLOADED", self._front):
            self._descriptor.set()

    async def next_descriptor(self) -> None:
        """Wait until a directory has taken the front's next descriptor."""
        self._descriptor.clear()
        async with asyncio.timeout(_PATIENCE):
            await self._descriptor.wait()


@asynccontextmanager
async def balancing(
    network: Network, directory: Path, *, front: str, backends: Sequence[Backend]
) -> AsyncIterator[Balancer]:
    """Run Onionbalance, with the front's key in ``directory``, at the network's service tor, while the block runs."""
    first, second = backends
    config = directory / "config.yaml"
    put = {"BACKEND1.onion": first.address, "BACKEND2.onion": second.address}
    config.write_text(shipped("front/config.yaml", put))
    host, _, port = network.service_control.rpartition(":")
    # Without "-s ''" it would look for the machine's own tor first.
    program = str(Path(sys.executable).with_name("onionbalance"))
    command = [program, "-i", host, "-p", port, "-s", "", "-c", str(config), "--is-testnet"]
    balancer = Balancer(front)
    async with await connect(network.service_control) as control:
        await control.add_event_listener(balancer.hear, "HS_DESC")
        with (directory / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            yield balancer
            assert process.returncode is None, (directory / "log").read_text()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
