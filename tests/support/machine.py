"""An operator's machine: a Debian in a container that has the package, and what an operator asks it."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from container import Container

_PATIENCE = 60.0  # seconds; what is waited for takes less than ten
_NONINTERACTIVE = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--no-install-recommends")

# Tor is told of the private network before it starts for the first time, and never looks for the public one.
_PRIVATE_NETWORK = "/etc/tor/private-network"
_WAITING = f"[Unit]\nConditionFileNotEmpty={_PRIVATE_NETWORK}\n"

_ASK_TOR = """
import pathlib, socket
control = socket.socket(socket.AF_UNIX)
control.connect("/run/tor/control")
cookie = pathlib.Path("/run/tor/control.authcookie").read_bytes().hex()
control.sendall(f"AUTHENTICATE {cookie}\\r\\nGETINFO onions/detached\\r\\nQUIT\\r\\n".encode())
said = control.makefile().read().split("onions/detached=")[1].split("250 OK")[0]
print(said.strip().strip("."))
"""


class Machine:
    """What is done on the machine."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.run = container.run
        self.path = container.path

    def keep_tor_waiting(self) -> None:
        """Have a tor that is installed wait until it is told which network to join."""
        directory = self.path("/etc/systemd/system/tor@default.service.d")
        directory.mkdir(parents=True)
        (directory / "private-network.conf").write_text(_WAITING)

    def join(self, torrc: str) -> None:
        """Have tor join the network that these lines lead to, as an operator sets up tor for nothing but a server."""
        self.path(_PRIVATE_NETWORK).write_text(f"{torrc}SocksPort 0\n")
        with self.path("/etc/tor/torrc").open("a") as file:
            file.write(f"\n%include {_PRIVATE_NETWORK}\n")
        self.run("systemctl", "restart", "tor@default")

    def apt(self, *words: str) -> str:
        """Run apt-get; it has to ask for nothing."""
        return self.run(*_NONINTERACTIVE, *words)

    def install(self, package: Path) -> None:
        """Install a package's file, with what it depends on."""
        shutil.copy(package, self.path("/root"))
        self.apt("install", f"/root/{package.name}")

    def show(self, unit: str, what: str) -> str:
        """Give a property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", what, unit).strip()

    def status(self) -> Any:
        """Ask the rendezvous server how it is."""
        return json.loads(self.run("onion-rdv", "status", "--json"))

    def left_with_tor(self) -> list[str]:
        """Name the onion services that tor serves for nobody who is connected to it."""
        return self.run("python3", "-c", _ASK_TOR).split()

    def journal(self, unit: str) -> str:
        """Give what a unit has said, which is an error of journalctl's where it has never run."""
        return self.run("journalctl", "--unit", unit, "--output", "cat", "--no-pager", code=None)

    async def published(self) -> str:
        """Wait until the rendezvous server says that it is published; gives how clients name it."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                status = await asyncio.to_thread(self.run, "onion-rdv", "status", "--json", code=None)
                if status and json.loads(status)["state"] == "published":
                    return str(json.loads(status)["server"])
                await asyncio.sleep(0.2)

    async def restarted(self, unit: str, pid: str) -> None:
        """Wait until a unit is active with another main process than that one."""
        async with asyncio.timeout(_PATIENCE):
            while self.show(unit, "MainPID") in {"0", pid} or self.show(unit, "ActiveState") != "active":
                await asyncio.sleep(0.1)
