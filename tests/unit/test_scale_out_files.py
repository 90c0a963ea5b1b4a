"""The files in ``scale-out/``: tor takes them without complaint, the server too, and the two agree."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from balanced_service import ROOT, shipped
from command_line import environment, onion_rdv
from offline_tor import COOKIE, offline_tor
from tls_database import make_certificate

from onion_rdv.protocol import encode_onion_address
from onion_rdv.tor.control import connect
from onion_rdv.tor.onion_service import DirectoryService, ServiceSettings

if TYPE_CHECKING:
    from pathlib import Path

FRONT = encode_onion_address(bytes(range(32)))
SERVICE, SOCKET = "/var/lib/tor/onion-rdv", "/run/onion-rdv/web.socket"


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """Make the directory of the onion service as the operator does."""
    directory = tmp_path / "service"
    directory.mkdir(mode=0o750)
    (directory / "ob_config").write_text(shipped("backend/ob_config", {"FRONT.onion": FRONT}))
    return directory


@pytest.mark.parametrize("machine", ["front", "backend"])
def test_tor_has_nothing_to_say_about_them(machine: str, service: Path, tmp_path: Path) -> None:
    torrc, data = tmp_path / "torrc", tmp_path / "data"
    torrc.write_text(shipped(f"{machine}/torrc", {SERVICE: service} if machine == "backend" else {}))
    data.mkdir(mode=0o700)
    command = ["tor", "--verify-config", "-f", str(torrc), "--DataDirectory", str(data)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "Configuration was valid" in said
    complaints = [line for line in said.splitlines() if "[warn]" in line and "as root" not in line]
    assert not complaints


async def test_the_server_finds_its_service_in_the_torrc_as_it_wants_it(service: Path, tmp_path: Path) -> None:
    """So it changes nothing in tor, which would otherwise be changed back when tor reads its torrc again."""
    lines = shipped("backend/torrc", {SERVICE: service, SOCKET: tmp_path / "web.socket"})
    with offline_tor(tmp_path / "tor", COOKIE, lines) as tor:
        async with await connect(tor.control) as control:
            before = await control.conf("HiddenServiceOptions")
            settings = ServiceSettings(tmp_path / "web.socket", proof_of_work=False)
            way = DirectoryService(settings, service, front=FRONT, export_circuit_id=True)
            provided = await way.provide(control)
            assert not provided.fresh
            assert await control.conf("HiddenServiceOptions") == before


def verified(directory: Path, drop_in: str) -> str:
    """Have systemd look at a backend's units; gives what it says."""
    for unit in [*(ROOT / "systemd").glob("onion-rdv.*"), ROOT / "scale-out/backend/onion-rdv-leave.service"]:
        # The program is not installed where tests run; any other will do.
        (directory / unit.name).write_text(unit.read_text().replace("/usr/bin/onion-rdv", sys.executable))
    (directory / "onion-rdv.service.d").mkdir()
    (directory / "onion-rdv.service.d" / "scale-out.conf").write_text(drop_in)
    units = sorted(map(str, directory.glob("onion-rdv*.service")))
    command = ["systemd-analyze", "verify", "--man=no", *units]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    drop_in = shipped("backend/onion-rdv.service.d/scale-out.conf", {"DATABASE_IP": "192.0.2.10"})
    (tmp_path / "right").mkdir()
    assert verified(tmp_path / "right", drop_in) == ""
    (tmp_path / "wrong").mkdir()
    assert "Nonsense" in verified(tmp_path / "wrong", drop_in + "Nonsense=yes\n")


async def test_the_servers_settings(tmp_path: Path) -> None:
    settings = tmp_path / "server.toml"
    put = {
        "FRONT.onion": FRONT,
        "/var/lib/onion-rdv": tmp_path / "state",
        "/etc/onion-rdv/postgresql-ca.crt": make_certificate(tmp_path, "database"),
    }
    settings.write_text(shipped("backend/server.toml", put))
    result = await onion_rdv("serve", "--check-config", env=environment(tmp_path, ONION_RDV_CONFIG=str(settings)))
    assert result.code == 0, result.stderr
    assert FRONT in result.stdout + result.stderr
