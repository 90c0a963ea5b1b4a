"""The messaging server as operators run it, behind an onion service of the private network."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from command_line import environment
from server_process import serving

from onion_rdv.errors import MessagingIdentityDiffers, QueueRefused
from onion_rdv.smp.client import (
    SenderQueue,
    SmpConnection,
    acknowledge,
    create_queue,
    ping,
    secure,
    send,
    subscribe,
)
from onion_rdv.smp.client.queues import fresh_key
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.replies import Msg
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

PASSWORD = "between-friends"
PATIENCE = 60
WORDS = ("messaging", "serve")


@pytest.fixture
def env(network: Network, tmp_path: Path) -> dict[str, str]:
    """Use the private network, and keep everything in a directory of the test's own."""
    return environment(tmp_path, **network.environment())


async def connect(env: dict[str, str], server: SmpServer) -> SmpConnection:
    return await SmpConnection.connect(SocksPort.parse(env["ONION_RDV_SOCKS"]), server, timeout=PATIENCE)


async def test_messages_go_through_tor_and_outlast_the_server(env: dict[str, str], tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(f"{PASSWORD}\n")
    async with serving("--password-file", str(password_file), env=env, words=WORDS) as process:
        address = process.name
        server = SmpServer.parse(address)
        assert (server.password, server.port) == (PASSWORD, 5223)
        async with await connect(env, server) as one, await connect(env, server) as other:
            await ping(one)
            with pytest.raises(QueueRefused):
                await create_queue(one, password="something else")
            queue = await create_queue(one, password=PASSWORD)
            sender = SenderQueue(queue.sender_id, fresh_key())
            await secure(other, sender)
            await send(other, sender, b"hello through Tor")
            push = await one.next_push()
            assert isinstance(push.reply, Msg)
            assert queue.open(push.reply).body == b"hello through Tor"
            await acknowledge(one, queue, push.reply.message_id)
            await send(other, sender, b"still there tomorrow")
        stranger = SmpServer(bytes(32), server.hosts, server.port)
        with pytest.raises(MessagingIdentityDiffers):
            await connect(env, stranger)
        said = "\n".join(process.said)
    for secret in (PASSWORD, server.fingerprint):
        assert secret not in said

    state = tmp_path / ".local" / "state" / "onion-rdv" / "messaging"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}

    async with serving("--port", "443", env=env, words=WORDS) as process:
        again = SmpServer.parse(process.name)
        assert (again.key_hash, again.hosts) == (server.key_hash, server.hosts)
        assert (again.password, again.port) == (None, 443)
        async with await connect(env, again) as one:
            await subscribe(one, queue)
            push = await one.next_push()
            assert isinstance(push.reply, Msg)
            assert queue.open(push.reply).body == b"still there tomorrow"
