"""A server as systemd runs it, with a tor as torrc.example has it: ready, watched, and restarted on one socket."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, environment, onion_rdv
from example_torrc import example_tor
from service_manager import Listening, Manager

from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.protocol import bucket_link
from onion_rdv.tor.control import connect
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from onion_rdv.protocol import BucketId
    from onion_rdv.tor.testnet import Network

PATIENCE = 90
WATCHDOG = "1500000"
MANY = 12


class Clients:
    """Clients that store entries all the time, each over a circuit of its own, and never try one twice."""

    def __init__(self, network: Network, address: str) -> None:
        self.server = RendezvousServer.parse(address)
        self._socks = SocksPort.parse(network.client_socks)
        self.stored: list[tuple[BucketId, bytes]] = []
        self._news = asyncio.Event()

    def client(self) -> RendezvousClient:
        return RendezvousClient(self._socks, self.server, PATIENCE)

    async def store(self) -> None:
        entries: list[bytes] = []

        async def seal() -> bytes:
            assert not entries, "the reply to a request was lost, or the server was busy"
            entries.append(secrets.token_bytes(256))
            return entries[0]

        bucket_id, bucket = await self.client().store(seal)
        entry = entries[0]
        assert entry in bucket
        self.stored.append((bucket_id, entry))
        self._news.set()

    @asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Store all the time, while the block runs; any failure is the block's."""

        async def store() -> None:
            while not over:
                await self.store()

        over = False
        async with asyncio.TaskGroup() as workers:
            for _ in range(3):
                workers.create_task(store())
            yield
            over = True

    async def more(self) -> None:
        """Wait for many more entries than there are."""
        wanted = len(self.stored) + MANY
        async with asyncio.timeout(PATIENCE):
            while len(self.stored) < wanted:
                self._news.clear()
                await self._news.wait()

    async def all_are_there(self) -> bool:
        """Fetch the bucket of every entry that was acknowledged."""
        buckets = {
            bucket_id: await self.client().fetch(bucket_link(bucket_id, self.server.onion_key))
            for bucket_id in {bucket_id for bucket_id, _ in self.stored}
        }
        return all(entry in buckets[bucket_id] for bucket_id, entry in self.stored)


class Managed:
    """The server's process, and what a service manager has to do with it."""

    def __init__(
        self,
        env: dict[str, str],
        manager: Manager,
        listening: Listening,
        *arguments: str,
        words: tuple[str, ...] = ("serve",),
    ) -> None:
        self._env = env | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": WATCHDOG}
        self._manager = manager
        self._listening = listening
        self._arguments = (*words, *arguments)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> str:
        """Start it, and wait until it is ready; gives the address that it tells the journal."""
        command = [*self._listening.wrapper, *COMMAND, *self._arguments]
        reads, writes = os.pipe()
        with os.fdopen(reads) as says:
            status = os.fstat(writes)
            self._process = subprocess.Popen(
                command,
                env=self._env | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
                pass_fds=self._listening.passed,
                stdout=writes,
            )
            os.close(writes)
            heard = await self.hears("READY=1")
            assert "STATUS=onion service: published" in heard, "it is ready when the descriptor is up"
            return says.readline().strip()

    async def hears(self, wanted: str) -> list[str]:
        return await asyncio.to_thread(self._manager.hear_until, wanted)

    async def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        code = await asyncio.to_thread(self._process.wait, PATIENCE)
        assert code == (0 if how is signal.SIGTERM else -how)
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path / "notify") as manager:
        yield manager


async def test_a_restart_loses_no_request_and_a_crash_no_entry(
    network: Network, manager: Manager, tmp_path: Path
) -> None:
    with (
        example_tor(tmp_path, network.torrc.read_text(), with_service=False) as control,
        Listening(tmp_path / "run" / "web.socket") as listening,
    ):
        env = environment(tmp_path, ONION_RDV_CONTROL=control)
        server = Managed(env, manager, listening)
        try:
            address = await server.start()
            await server.hears("WATCHDOG=1")
            clients = Clients(network, address)
            async with clients.storing():
                await clients.more()
                await server.end(signal.SIGTERM)
                assert await server.start() == address
                await clients.more()
            await server.end(signal.SIGKILL)
            waiting = asyncio.create_task(clients.store())
            assert await server.start() == address
            await waiting
            assert await clients.all_are_there()
            await server.hears("WATCHDOG=1")
            await server.end(signal.SIGTERM)
        finally:
            server.close()
        async with await connect(control) as asking:
            assert (await asking.info("onions/detached")).split() == [address.removesuffix(".onion")]
            assert (await onion_rdv("withdraw", env=env)).code == 0
            assert await asking.info("onions/detached") == ""


async def test_tor_keeps_the_key_and_tells_circuits_apart(network: Network, manager: Manager, tmp_path: Path) -> None:
    with (
        example_tor(tmp_path, network.torrc.read_text(), with_service=True) as control,
        Listening(tmp_path / "run" / "web.socket") as listening,
    ):
        env = environment(tmp_path, ONION_RDV_CONTROL=control)
        directory = tmp_path / "tor" / "onion-rdv"
        server = Managed(env, manager, listening, "--onion-service-dir", str(directory), "--circuit-ids")
        try:
            address = await server.start()
            assert address == (directory / "hostname").read_text().strip()
            await server.hears("WATCHDOG=1")
            clients = Clients(network, address)
            await clients.store()
            async with await connect(control) as asking:
                options = dict(await asking.conf("HiddenServiceOptions"))
            assert options["HiddenServiceExportCircuitID"] == "haproxy"
            assert await clients.all_are_there()
            await server.end(signal.SIGTERM)
        finally:
            server.close()


async def test_a_messaging_server_tells_the_journal_no_password(
    network: Network, manager: Manager, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("between-friends\n")
    env = environment(tmp_path, **network.environment())
    with Listening(tmp_path / "smp.socket") as listening:
        server = Managed(env, manager, listening, "--password-file", str(password), words=("messaging", "serve"))
        try:
            address = await server.start()
            assert address.startswith("smp://")
            assert "between-friends" not in address
            await server.hears("WATCHDOG=1")
            await server.end(signal.SIGTERM)
        finally:
            server.close()
    assert (await onion_rdv("messaging", "withdraw", env=env)).stderr == "the onion service was taken back\n"
