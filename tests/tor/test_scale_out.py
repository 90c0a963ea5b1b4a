"""A server on one machine becomes two behind an Onionbalance: the same address and buckets, and neither is needed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from balanced_service import ROOT, Backend, backend, balancing
from command_line import Result, environment, onion_rdv

from onion_rdv.protocol import DEFAULT_PORT, SALT_SIZE, Invite, bucket_link, decode_onion_address, seal
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.tor import testnet
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import load_or_create

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from pathlib import Path

    from postgres_server import PostgresServer

# Two minutes where nothing else runs, of which Onionbalance waits one; and chance may want many tries of ten seconds.
pytestmark = pytest.mark.timeout(1200)

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.invalid"
PASSPHRASE = "correct horse battery staple"

RELAYS = 9
"""Besides the three authorities. The introduction points of the backends have to be at different relays, or clients
take the key of one for that of the other: so each backend has half of the network, which has to be large enough."""


@pytest.fixture(scope="module")
def network() -> Iterator[testnet.Network]:
    with testnet.Keeper(relays=RELAYS) as keeper:
        yield keeper.network


def documented(beginning: str) -> str:
    """Give the line of the operator's document that begins so."""
    (line,) = re.findall(
        rf"^ *({re.escape(beginning)}.*)$", (ROOT / "docs" / "scale-out.md").read_text(), re.MULTILINE
    )
    return str(line)


async def serve_alone(directory: Path) -> tuple[str, dict[str, Any]]:
    """Leave what a server on one machine leaves there; gives its address, and an invite that is under way."""
    server = directory / "server"
    server.mkdir(mode=0o700)
    key = load_or_create(server / KEY_FILE)
    onion_key, salt = decode_onion_address(key.address), os.urandom(SALT_SIZE)
    store = await SqliteStore.open(server / STORE_FILE, onion_key)
    stored = await store.store(seal(LINK, PASSPHRASE, salt, onion_key))
    await store.close()
    invite = Invite(onion_key, DEFAULT_PORT, bucket_link(stored.bucket_id, onion_key), salt)
    return key.address, {"invite": str(invite), "passphrase": PASSPHRASE}


async def move(before: Path, after: Path, database: str) -> None:
    """Bring the buckets into the database, and the key to Onionbalance."""
    env = environment(before)
    backup, words = before / "backup", ("--passphrase-file", "-")
    saved = await onion_rdv("backup", str(backup), "--state-dir", str(before), *words, env=env, stdin=PASSPHRASE)
    assert saved.code == 0, saved.stderr
    env["ONION_RDV_DATABASE"] = database
    restored = await onion_rdv("restore", str(backup), "--state-dir", str(after), *words, env=env, stdin=PASSPHRASE)
    assert restored.code == 0, restored.stderr
    command = documented("{ printf").replace("/var/lib/onion-rdv", str(after))
    subprocess.run(command, shell=True, check=True, cwd=after)  # noqa: S602


async def offer(front: str, env: dict[str, str]) -> dict[str, Any] | None:
    """Leave a link; None where that was not acknowledged."""
    result = await onion_rdv("offer", "-", "--server", front, "--json", env=env, stdin=LINK)
    return dict(result.json) if result.code == 0 else None


async def accept(offered: dict[str, Any], env: dict[str, str]) -> Result:
    words = ["accept", offered["invite"], "--json", "--passphrase-file", "-", "--no-probe"]
    return await onion_rdv(*words, env=env, stdin=offered["passphrase"])


class Round:
    """Who served what somebody did."""

    def __init__(self, backends: list[Backend]) -> None:
        self._backends = backends

    async def of(self, doing: Awaitable[Any]) -> tuple[Any, set[int]]:
        """Do it, alone; give the result, and the numbers of the backends that had to do with it."""
        before = [await each.clients() for each in self._backends]
        result = await doing
        after = [await each.clients() for each in self._backends]
        return result, {number for number, clients in enumerate(after) if clients > before[number]}


async def test_two_servers_behind_one_address(
    network: testnet.Network, postgres: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "alone").mkdir()
    front, given_out_before = await serve_alone(tmp_path / "alone")
    database = await postgres.make_database()
    await move(tmp_path / "alone", tmp_path / "front", database)
    relays = [file.read_text().split()[1] for file in sorted(network.directory.glob("*/fingerprint"))]
    async with AsyncExitStack() as machines:
        backends = await asyncio.gather(
            *(
                machines.enter_async_context(
                    backend(network, tmp_path / f"backend{number}", front=front, database=database, avoids=avoided)
                )
                for number, avoided in enumerate([relays[::2], relays[1::2]])
            )
        )
        assert {each.server.name for each in backends} == {front}
        assert front not in {each.address for each in backends}
        balancer = await machines.enter_async_context(
            balancing(network, tmp_path / "front", front=front, backends=backends)
        )
        await balancer.next_descriptor()
        env = environment(tmp_path, **network.environment())

        # Each circuit comes to either of them by chance. Until a link has gone in at one alone, and out at the other:
        acknowledged: list[dict[str, Any]] = []
        met = False
        while not met:
            offered, takers = await Round(backends).of(offer(front, env))
            assert offered is not None
            accepted, givers = await Round(backends).of(accept(offered, env))
            assert accepted.json["link"] == LINK
            acknowledged.append(offered)
            met = len(takers) == 1 and not takers & givers
        assert all(offered["bucket"] == acknowledged[0]["bucket"] for offered in acknowledged), "they fill one bucket"

        seen = await backends[0].clients()
        under_way = [asyncio.create_task(offer(front, env)) for _ in range(4)]
        while await backends[0].clients() == seen and not all(each.done() for each in under_way):
            await asyncio.sleep(0.01)
        await backends[0].die()
        _, *results = await asyncio.gather(balancer.next_descriptor(), *under_way)
        acknowledged += [offered for offered in results if offered is not None]
        before = await backends[1].clients()
        after = await offer(front, env)
        assert after is not None
        acknowledged += [after, given_out_before]
        for accepted in await asyncio.gather(*(accept(offered, env) for offered in acknowledged)):
            assert accepted.json["link"] == LINK
        assert await backends[1].clients() >= before + 2 + len(acknowledged)
