"""The main job on a real Tor network, through the real command line: serve, offer, accept, and what can go wrong."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import Result, environment, onion_rdv
from nacl.signing import SigningKey
from python_socks import ProxyType
from python_socks.async_.asyncio import Proxy
from server_process import serving
from web_page import WebPage

from onion_rdv.protocol import Invite, encode_onion_address
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from onion_rdv.tor.testnet import Keeper, Network

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.invalid"


@pytest.fixture
def env(network: Network, tmp_path: Path) -> dict[str, str]:
    """Use the private network, and keep everything in a directory of the test's own."""
    return environment(tmp_path, **network.environment())


async def offer(server: str, env: dict[str, str], *more: str, link: str = LINK) -> Any:
    result = await onion_rdv("offer", "-", "--server", server, "--json", *more, env=env, stdin=link)
    assert result.code == 0, result.stderr
    return result.json


async def accept(offered: Any, env: dict[str, str], *more: str, passphrase: str | None = None) -> Result:
    words = ["accept", offered["invite"], "--json", "--passphrase-file", "-", *(more or ["--no-probe"])]
    return await onion_rdv(*words, env=env, stdin=passphrase or offered["passphrase"])


async def test_a_link_goes_from_one_person_to_another(env: dict[str, str], network: Network, tmp_path: Path) -> None:
    async with serving(env=env) as server, WebPage(tmp_path, network.service_control) as messaging:
        link = f"http://{messaging.address}/i#{secrets.token_hex(16)}"
        first, second = await asyncio.gather(offer(server.name, env, link=link), offer(server.name, env))
        assert first["bucket"] == second["bucket"]
        accepted, other = await asyncio.gather(accept(first, env, "--probe=require"), accept(second, env))
        assert accepted.json == {
            "link": link,
            "messaging_server": {
                "host": messaging.address,
                "kind": None,
                "reachable": True,
                "identity": None,
                "alive": None,
                "detail": "it answers with HTTP status 200",
            },
        }
        assert other.json["link"] == LINK
        assert messaging.requests == ["HEAD /"], "nothing of the link itself is sent"

        wrong = await accept(first, env, passphrase="something else")
        assert (wrong.code, wrong.stdout) == (6, "")
        invite = Invite.parse(first["invite"])
        unknown = {**first, "invite": str(Invite(invite.onion_key, invite.port, bytes(16), invite.salt))}
        assert (await accept(unknown, env)).code == 5

        checked = await onion_rdv("doctor", "--server", server.name, "--json", env=env)
        findings = {finding["name"]: finding["status"] for finding in checked.json["checks"]}
        assert findings["server"] == findings["socks"] == findings["control"] == findings["clock"] == "ok", checked
        said = "\n".join(server.said)
    for secret in (link, LINK, first["passphrase"], first["invite"].rpartition("/")[2]):
        assert secret not in said


async def test_the_address_and_the_buckets_outlast_the_server_and_tor(env: dict[str, str], keeper: Keeper) -> None:
    async with serving("--port", "8080", env=env) as server:
        assert server.name.endswith(".onion:8080")
        offered = await offer(server.name, env)
        name = server.name
    async with serving("--port", "8080", env=env) as server:
        assert server.name == name
        assert (await accept(offered, env)).json["link"] == LINK
        await asyncio.to_thread(keeper.restart_tor)
        await server.wait_for("onion service: published", times=2)
        # Relays may go on to confirm introductions to the tor that has ended; clients' tor then keeps to the old
        # descriptor until they stop: 54 seconds were seen.
        again = await offer(server.name, env, "--timeout", "110")
        assert again["server"] == name
        server.process.kill()
        await server.process.wait()
    async with serving("--port", "8080", env=env) as server:
        assert (await accept(again, env)).json["link"] == LINK
        assert (await accept(offered, env)).json["link"] == LINK


async def test_files_are_the_owners_alone(env: dict[str, str], tmp_path: Path) -> None:
    async with serving(env=env):
        directory = tmp_path / ".local" / "state" / "onion-rdv" / "server"
        assert directory.stat().st_mode & 0o777 == 0o700
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes[KEY_FILE] == modes[STORE_FILE] == 0o600
    assert all(mode == 0o600 for mode in modes.values()), modes


async def test_client_authorization_is_wanted(env: dict[str, str]) -> None:
    key = "ME4TQMSQQ7XIVSKBNUYLTSNQVZ4GYXGDZGQXH6QAJJXS3ZQGZBVQ"
    async with serving("--authorized-client", key, env=env) as server:
        result = await onion_rdv("offer", LINK, "--server", server.name, env=env)
    assert result.code == 4
    assert "client authorization" in result.stderr
    assert "ask its operator" in result.stderr
    assert result.stdout == ""


async def test_a_service_that_is_not_there(env: dict[str, str]) -> None:
    never_published = encode_onion_address(bytes(SigningKey.generate().verify_key))
    result = await onion_rdv("offer", LINK, "--server", never_published, env=env)
    assert (result.code, result.stdout) == (4, "")
    assert "not published" in result.stderr
    no_point_on_the_curve = encode_onion_address(b"\x07" * 32)
    result = await onion_rdv("offer", LINK, "--server", no_point_on_the_curve, env=env)
    assert (result.code, result.stdout) == (4, "")
    assert "not a valid onion address" in result.stderr


async def test_a_tor_of_our_own_at_both_ends(env: dict[str, str], tmp_path: Path) -> None:
    """Where no tor is named and none runs, each command starts its own; the torrc makes it join the network."""
    for name in ("ONION_RDV_SOCKS", "ONION_RDV_CONTROL"):
        del env[name]
    async with serving(env=env) as server:
        offered = await offer(server.name, env)
        assert (await accept(offered, env)).json["link"] == LINK
        threads = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        (tor,) = [int(child) for thread in threads for child in thread.read_text().split()]
        os.kill(tor, signal.SIGKILL)
        await server.wait_for("onion service: published", times=2)
        assert (await accept(offered, env)).json["link"] == LINK
    assert (tmp_path / ".local" / "state" / "onion-rdv" / "client-tor").is_dir()


async def test_tor_keeps_the_key(env: dict[str, str], network: Network, tmp_path: Path) -> None:
    directory = network.directory / f"service-{secrets.token_hex(4)}"
    async with serving("--onion-service-dir", str(directory), env=env) as server:
        assert (directory / "hostname").read_text().strip() == server.name
        offered = await offer(server.name, env)
    async with serving("--onion-service-dir", str(directory), env=env) as server:
        assert (await accept(offered, env)).json["link"] == LINK
    assert not (tmp_path / ".local" / "state" / "onion-rdv" / "server" / KEY_FILE).exists()


async def test_one_circuit_brings_a_few_entries_and_others_more(env: dict[str, str], network: Network) -> None:
    directory = network.directory / f"service-{secrets.token_hex(4)}"
    host, _, port = network.client_socks.rpartition(":")

    async def store_on(circuit: str) -> bytes:
        """Store an entry; the same SOCKS user gets the same circuit."""
        proxy = Proxy(ProxyType.SOCKS5, host, int(port), username=circuit, password="x", rdns=True)
        stream = await proxy.connect(server.name, 80, timeout=60)
        reader, writer = await asyncio.open_connection(sock=stream)
        writer.write(b"POST /v1/store HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n" + secrets.token_bytes(256))
        status = await reader.readexactly(len("HTTP/1.1 201"))
        writer.close()
        await writer.wait_closed()
        return status[-3:]

    async with serving("--onion-service-dir", str(directory), "--circuit-ids", env=env) as server:
        offered = await offer(server.name, env)
        assert (await accept(offered, env)).json["link"] == LINK
        circuit = secrets.token_hex(8)
        assert [await store_on(circuit) for _ in range(5)] == [b"201"] * 4 + [b"503"]
        assert await store_on(secrets.token_hex(8)) == b"201"
        assert (await accept(await offer(server.name, env), env)).json["link"] == LINK
