"""The doctor: each finding and what it advises."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
from command_line import environment, onion_rdv
from socks_proxy import RecordingSocks
from test_client import KEY, FakeServer

from onion_rdv.cli import examination
from onion_rdv.cli.examination import Examination, Finding
from onion_rdv.errors import CommandRefused
from onion_rdv.protocol import encode_onion_address
from onion_rdv.protocol.exchange import bucket_reply

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from onion_rdv.tor.control import Control

ADDRESS = encode_onion_address(KEY)


async def examine(tmp_path: Path, socks: str | None, *servers: str, control: str | None = None) -> dict[str, Finding]:
    made = Examination(socks, control, None, tmp_path / "state", servers, 5)
    return {finding.name: finding async for finding in made.run()}


async def test_no_tor_at_all(tmp_path: Path) -> None:
    async with RecordingSocks([1]) as proxy:
        gone = str(proxy.socks)
    findings = await examine(tmp_path, gone, ADDRESS, control=gone)
    assert {name: finding.status for name, finding in findings.items()} == {
        "tor": "ok",
        "socks": "failure",
        "control": "failure",
        "state": "ok",
        "server": "failure",
    }
    assert all(finding.hint for finding in findings.values() if finding.status != "ok")
    assert findings["socks"].exit_code == findings["server"].exit_code == 3


async def test_servers(tmp_path: Path) -> None:
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        findings = await examine(tmp_path, str(proxy.socks), ADDRESS)
        assert findings["socks"].status == findings["server"].status == "ok"
        proxy.answers[:] = [0xF4]
        assert (await examine(tmp_path, str(proxy.socks), ADDRESS))["server"].exit_code == 4
        assert (await examine(tmp_path, str(proxy.socks), "example.org"))["server"].exit_code == 2

        async def always_a_bucket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(bucket_reply(server.bucket))
            await writer.drain()

        proxy.answers[:] = [always_a_bucket]
        assert (await examine(tmp_path, str(proxy.socks), ADDRESS))["server"].exit_code == 7


def findings_of_state(directory: Path) -> Finding:
    return Examination(None, None, None, directory, (), 5)._check_state_directory()


def test_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "state"
    assert findings_of_state(directory).status == "ok"
    directory.mkdir(mode=0o755)
    assert "chmod 700" in findings_of_state(directory).hint
    directory.chmod(0o700)
    assert findings_of_state(directory).status == "ok"
    file = tmp_path / "file"
    file.touch()
    assert findings_of_state(file / "state").status == "failure"
    monkeypatch.setattr(examination, "_MIN_FREE", 2**80)
    assert "MiB left" in findings_of_state(directory).detail


def test_a_state_directory_that_cannot_be_looked_at(tmp_path: Path) -> None:
    finding = findings_of_state(tmp_path / ("x" * 300) / "state")  # no more than one below another's directory
    assert (finding.status, finding.exit_code) == ("failure", 9)
    assert "cannot be looked at: File name too long" in finding.detail
    assert "--state-dir" in finding.hint


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("0.4.9.11.", "ok"),
        ("0.4.9.11", "ok"),
        ("0.5.1.1-alpha (git-0)", "ok"),
        ("0.4.8.16.", "warning"),
        ("?", "warning"),
    ],
)
def test_versions(said: str, status: str) -> None:
    finding = examination._judge_version("tor", said)
    assert finding.status == status
    assert (status == "ok") != bool(finding.hint)


async def test_no_tor_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = (await examine(tmp_path, "127.0.0.1:1"))["tor"]
    assert finding.status == "warning"
    assert "apt install tor" in finding.hint


@pytest.mark.parametrize(
    ("program", "says"), [("\0", "Exec format error"), ("#!/bin/sh\nexec sleep 600\n", "it says nothing")]
)
async def test_a_tor_program_that_is_none(
    program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tor = tmp_path / "bin" / "tor"
    tor.parent.mkdir()
    tor.write_text(program)
    tor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tor.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(examination, "_VERSION_TIMEOUT", 1)
    finding = (await examine(tmp_path, "127.0.0.1:1"))["tor"]
    assert finding.status == "warning"
    assert finding.detail == f"{tor} is no tor that can be started: {says}"
    assert "apt install tor" in finding.hint


@pytest.mark.parametrize(
    ("ports", "statuses"),
    [
        ([], ["ok"]),
        (["0"], ["ok"]),
        (["9050"], ["ok", "warning"]),
        (["127.0.0.1:9050 ExtendedErrors"], ["ok"]),
        (['"9050 NoIsolateSOCKSAuth ExtendedErrors"'], ["failure"]),
        (["9050 NoIsolateSOCKSAuth"], ["failure", "warning"]),
    ],
)
def test_socks_flags(ports: list[str], statuses: list[str]) -> None:
    assert [finding.status for finding in examination._judge_socks_ports(ports)] == statuses


class ConsensusTimes:
    """The two answers of a control port that the clock is compared with."""

    def __init__(self, after: datetime | None, until: datetime | None) -> None:
        self._times = {"consensus/valid-after": after, "consensus/valid-until": until}

    async def info(self, key: str) -> str:
        time = self._times[key]
        if time is None:
            raise CommandRefused("GETINFO: 551")
        return f"{time:%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize(("offset", "status"), [(0, "ok"), (5, "failure"), (-5, "failure"), (None, "warning")])
async def test_the_clock(offset: int | None, status: str) -> None:
    after = until = None
    if offset is not None:
        after = datetime.now(UTC) + timedelta(hours=offset - 1)
        until = after + timedelta(hours=3)
    finding = await examination._check_clock(cast("Control", ConsensusTimes(after, until)))
    assert finding.status == status


async def test_lines_for_people(tmp_path: Path) -> None:
    env = environment(tmp_path, ONION_RDV_SOCKS="127.0.0.1:1", ONION_RDV_CONTROL="127.0.0.1:1")
    result = await onion_rdv("doctor", env=env)
    assert result.code == 3
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok    tor: version") for line in lines)
    failing = next(number for number, line in enumerate(lines) if line.startswith("FAIL  socks"))
    assert lines[failing + 1].startswith("      install tor")
    assert not list(tmp_path.iterdir()), "looking changes nothing"
