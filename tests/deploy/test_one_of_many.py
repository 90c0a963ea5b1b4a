"""A backend of several on a Debian of its own, set up with what ships and the commands that docs/scale-out.md has."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from balanced_service import ROOT
from tls_database import make_database

from onion_rdv.protocol import encode_onion_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Future
    from pathlib import Path

    from machine import Machine
    from postgres_server import PostgresServer

    from onion_rdv.tor.testnet import Network

pytest_plugins = ("deployment",)

SERVICE, TOR = "onion-rdv.service", "tor@default.service"
FRONT = encode_onion_address(bytes(range(32)))
NETWORK = "/etc/tor/private-network"
DATABASE, PASSWORD = "database.example", "hunter2-and-more"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """Run PostgreSQL as if on another machine: where nothing but TCP leads, and TLS alone is let in."""
    server = make_database(tmp_path / "database", DATABASE)
    (server.directory / "data" / "pg_hba.conf").write_text(
        "local all onion trust\nhostssl onion_rdv onion-rdv 127.0.0.1/32 scram-sha-256\n"
    )
    try:
        server.start()
        await server.execute("postgres", f"CREATE ROLE \"onion-rdv\" LOGIN PASSWORD '{PASSWORD}'")
        await server.execute("postgres", 'CREATE DATABASE onion_rdv OWNER "onion-rdv"')
        yield server
    finally:
        server.remove()


def commands() -> str:
    """Give what the document has an operator type on a backend, once the package is there."""
    text = (ROOT / "docs" / "scale-out.md").read_text()
    found = re.search(r"\*\*4\. Each backend\.\*\*\n\n```sh\napt install [^\n]*\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def fill_in(machine: Machine, port: str, torrc: str) -> None:
    """Put into copies of the files that ship what is this operator's own, and have tor join the private network."""
    machine.run("cp", "-r", "/usr/share/doc/onion-rdv/scale-out", "/root")
    with machine.path("/etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {DATABASE}\n")
    put = {
        "FRONT.onion": FRONT,
        "onion-rdv@DATABASE/": f"onion-rdv:{PASSWORD}@{DATABASE}:{port}/",
        "DATABASE_IP": "127.0.0.1",
    }
    for file in machine.path("/root/scale-out/backend").rglob("*"):
        if file.is_file():
            text = file.read_text()
            for old, new in put.items():
                text = text.replace(old, new)
            file.write_text(text)
    machine.path(NETWORK).write_text(torrc)
    with machine.path("/root/scale-out/backend/torrc").open("a") as lines:
        lines.write(f"%include {NETWORK}\n")


async def test_a_backend_as_the_document_has_it(
    machine: Machine,
    builds: tuple[Future[Path], Future[Path]],
    network: Network,
    database: PostgresServer,
    tmp_path: Path,
) -> None:
    machine.install(builds[0].result())
    fill_in(machine, database.port, network.torrc.read_text())
    shutil.copy(tmp_path / "database" / "server.crt", machine.path("/root/postgresql-ca.crt"))
    said = machine.run("sh", "-exc", f"cd /root\n{commands()}")
    assert f'front = "{FRONT}"' in said
    assert PASSWORD not in said
    status = machine.status()
    assert (status["server"], status["state"]) == (FRONT, "published")
    own = machine.run("cat", "/var/lib/tor/onion-rdv/hostname").strip()
    assert f"its own address, which Onionbalance wants: {own}" in machine.journal(SERVICE)

    database.stop()
    pid = machine.show(SERVICE, "MainPID")
    machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
    async with asyncio.timeout(60):
        while "does not answer" not in machine.journal(SERVICE):
            await asyncio.sleep(0.2)
    assert machine.show(TOR, "ActiveState") == "active", "it is tried again, and tor stays"
    database.start()
    await machine.restarted(SERVICE, pid)
    assert machine.status()["server"] == FRONT

    machine.run("sed", "-i", "s/^front = /frond = /", "/etc/onion-rdv/server.toml")
    machine.run("systemctl", "restart", SERVICE, code=None)
    async with asyncio.timeout(60):
        while machine.show(TOR, "ActiveState") != "inactive":  # a server that is given up leads nobody astray
            await asyncio.sleep(0.2)
    machine.run("sed", "-i", "s/^frond = /front = /", "/etc/onion-rdv/server.toml")
    machine.run("systemctl", "start", TOR, SERVICE)
    assert machine.status()["server"] == FRONT
    machine.run("systemctl", "start", "onion-rdv-leave")
    assert machine.show(TOR, "ActiveState") == "inactive"
