"""A private rendezvous server, as its operator and its clients have it: authorize, auth, offer, accept."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

import pytest
from command_line import Result, environment, onion_rdv
from server_process import serving

from onion_rdv.tor.control import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.invalid"
LINE = re.compile(r"[a-z2-7]{56}:descriptor:x25519:[A-Z2-7]{52}\n")


@pytest.fixture
def operator(network: Network, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, **network.environment())


@pytest.fixture
async def person(network: Network, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Use the network as somebody whose tor is left without any key afterwards."""
    (tmp_path / "person").mkdir()
    yield environment(tmp_path / "person", **network.environment())
    async with await connect(network.client_control) as control:
        for line in (await control.ask("ONION_CLIENT_AUTH_VIEW")).lines:
            if line.startswith("CLIENT "):
                await control.ask(f"ONION_CLIENT_AUTH_REMOVE {line.split()[1]}")


async def offer(server: str, env: dict[str, str], *more: str) -> Result:
    return await onion_rdv("offer", "-", "--server", server, "--json", "--timeout", "90", *more, env=env, stdin=LINK)


async def authorize(operator: dict[str, str], *words: str) -> Result:
    result = await onion_rdv("authorize", *words, env=operator)
    assert result.code == 0, result.stderr
    return result


async def keep(line: str, person: dict[str, str]) -> None:
    result = await onion_rdv("auth", "add", "-", env=person, stdin=line)
    assert result.code == 0, result.stderr


@pytest.mark.parametrize("kind", ["ephemeral", "directory"])
async def test_a_private_server(
    kind: str, operator: dict[str, str], person: dict[str, str], tmp_path: Path, network: Network
) -> None:
    if kind == "directory":
        (tmp_path / ".config" / "onion-rdv").mkdir(parents=True)
        settings = f'[serve]\nonion_service_dir = "{tmp_path}/onion"\n'
        (tmp_path / ".config" / "onion-rdv" / "config.toml").write_text(settings)
        refused = await onion_rdv("authorize", "alice", env=operator)
        assert (refused.code, refused.stdout) == (2, "")
        assert "not known yet" in refused.stderr
    else:  # nobody else gets in from its first moment on
        alice = await authorize(operator, "alice")
        assert "THIS SERVER IS PRIVATE NOW" in alice.stderr
        assert "next start" in alice.stderr

    async with serving(env=operator) as server:
        if kind == "directory":
            alice = await authorize(operator, "alice")
            assert "THIS SERVER IS PRIVATE NOW" in alice.stderr
        assert LINE.fullmatch(alice.stdout)

        outside = await offer(server.name, person)
        assert (outside.code, outside.stdout) == (4, "")
        assert "wants client authorization" in outside.stderr
        assert "onion-rdv auth add" in outside.stderr

        await keep(alice.stdout, person)
        offered = await offer(server.name, person)
        assert offered.code == 0, offered.stderr
        accepted = await onion_rdv(
            "accept",
            offered.json["invite"],
            "--json",
            "--no-probe",
            "--passphrase-file",
            "-",
            env=person,
            stdin=offered.json["passphrase"],
        )
        assert accepted.json["link"] == LINK
        checked = await onion_rdv("doctor", "--server", server.name, env=person)
        assert f"ok    server: {server.name}" in checked.stdout

        bob = await authorize(operator, "bob")
        assert "PRIVATE" not in bob.stderr
        await authorize(operator, "--remove", "alice")
        removed = await offer(server.name, person)
        assert removed.code == 4
        assert "does not accept this client's authorization" in removed.stderr

        await keep(bob.stdout, person)
        assert (await offer(server.name, person)).code == 0
        assert (await authorize(operator, "--list")).stdout.split()[0] == "bob"

        last = await onion_rdv("authorize", "--remove", "bob", env=operator)
        assert last.code == 2
        assert "--make-public" in last.stderr
        public = await authorize(operator, "--remove", "bob", "--make-public")
        assert "THIS SERVER IS PUBLIC NOW" in public.stderr
        assert (await onion_rdv("auth", "remove", server.name, env=person)).code == 0
        assert (await offer(server.name, person)).code == 0
        said = "\n".join(server.said)
    assert alice.stdout.strip() not in said
    assert alice.stdout.strip().rpartition(":")[2] not in said


async def test_a_tor_that_gets_no_key(
    operator: dict[str, str], person: dict[str, str], network: Network, tmp_path: Path
) -> None:
    """Another tor's control port is of no use, and the way without one is told; the key is in no message."""
    alice = await authorize(operator, "alice")
    await keep(alice.stdout, person)
    async with serving(env=operator) as server:
        result = await offer(server.name, person, "--socks-control", network.service_control)
    assert (result.code, result.stdout) == (4, "")
    assert "no control port of the tor at" in result.stderr
    assert "ClientOnionAuthDir /var/lib/tor/onion-auth" in result.stderr
    assert alice.stdout.strip().rpartition(":")[2] not in result.stderr
    directory = tmp_path / "person" / ".local" / "state" / "onion-rdv" / "onion-auth"
    assert str(directory) in result.stderr
    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    # What the hint says is enough for tor.
    async with await connect(network.client_control) as control:
        await control.ask(f"SETCONF ClientOnionAuthDir={directory}")
        try:
            async with serving(env=operator) as server:
                assert (await offer(server.name, person, "--socks-control", network.service_control)).code == 0
        finally:
            await control.ask("RESETCONF ClientOnionAuthDir")
