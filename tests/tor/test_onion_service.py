"""Onion services on a private Tor network: published, reached, lost and found again at the same address."""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from closing import end
from fakes import OlderTor
from nacl.public import PrivateKey
from python_socks import ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio import Proxy

from onion_rdv.errors import StreamFailed
from onion_rdv.tor.control import Control, Event, connect
from onion_rdv.tor.onion_service import DirectoryService, EphemeralService, OnionService, ServiceSettings, Way
from onion_rdv.tor.onion_service.detached import NOTE_FILE, take_back
from onion_rdv.tor.onion_service.hidden_service_options import blocks, setconf
from onion_rdv.tor.socks import AUTHORIZATION_MISSING, AUTHORIZATION_WRONG, FINAL, SocksPort, open_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from onion_rdv.tor.testnet import Keeper, Network

PATIENCE = 90  # seconds; what is waited for takes two to ten
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Path]:
    """Answer HTTP requests on a Unix socket."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    path = tmp_path / "web"
    server = await asyncio.start_unix_server(respond, path)
    yield path
    await end(server)
    await server.wait_closed()


@pytest.fixture
async def control(network: Network) -> AsyncIterator[Control]:
    """Look at the service's tor; leaves it with no onion service in its configuration."""
    async with await connect(network.service_control) as opened:
        yield opened
        await opened.ask("RESETCONF HiddenServiceDir")


@asynccontextmanager
async def published(way: Way, network: Network) -> AsyncIterator[OnionService]:
    service = OnionService(way, opening(network.service_control))
    await service.publish()
    try:
        yield service
    finally:
        await service.stop()


def opening(address: str) -> Callable[[], Awaitable[Control]]:
    async def open_control() -> Control:
        return await connect(address)

    return open_control


async def ask(network: Network, host: str, port: int = 80) -> bytes:
    """Send a request over a fresh circuit."""
    reader, writer = await open_stream(SocksPort.parse(network.client_socks), host, port, timeout=20)
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def reachable(network: Network, host: str, port: int = 80) -> bool:
    """Try until it answers; the first tries may still use what the client knew before."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if await ask(network, host, port) == ANSWER:
                    return True
            except (StreamFailed, TimeoutError, ConnectionError):
                continue


async def test_ephemeral_and_again_at_the_same_address(network: Network, web: Path, tmp_path: Path) -> None:
    said = []

    def progress(percent: int, what: str) -> None:
        said.append((percent, what))

    way = EphemeralService(ServiceSettings(web), tmp_path / "key")
    first = OnionService(way, opening(network.service_control), progress=progress)
    await first.publish()
    assert await reachable(network, first.address)
    assert first.proof_of_work
    assert first.warnings == ()
    await first.stop()
    assert said[-1] == (100, "published")
    assert any(what.startswith("publishing ") for _, what in said)
    async with await connect(network.service_control) as control:
        assert await control.info("onions/current") == ""

    async with published(
        EphemeralService(ServiceSettings(web, virtual_port=8000), tmp_path / "key"), network
    ) as again:
        assert again.address == first.address
        assert await reachable(network, again.address, 8000)


async def test_uploads_were_answered_before_it_counts_as_published(
    network: Network, web: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    async with await connect(network.service_control) as watching:
        await watching.add_event_listener(events.append, "HS_DESC", "SIGNAL")
        async with published(EphemeralService(ServiceSettings(web), tmp_path / "key"), network) as service:
            await watching.ask("SIGNAL CLEARDNSCACHE")  # tor tells of it after all that it has told others before
            async with asyncio.timeout(30):
                while not any(event.kind == "SIGNAL" for event in events):
                    await asyncio.sleep(0.01)
            before = itertools.takewhile(lambda event: event.kind != "SIGNAL", events)
            ours = [event.text.split()[0] for event in before if service.address[:56] in event.text]
    assert ours.count("UPLOADED") >= 1
    assert ours.count("UPLOADED") + ours.count("FAILED") == ours.count("UPLOAD") >= 2


async def test_the_control_connection_is_cut(network: Network, web: Path, tmp_path: Path) -> None:
    states: asyncio.Queue[str] = asyncio.Queue()
    relay = OlderTor(network.service_control)
    async with relay.serving(), asyncio.timeout(PATIENCE):
        way = EphemeralService(ServiceSettings(web), tmp_path / "key")
        service = OnionService(way, opening(relay.address), on_state=states.put_nowait)
        keeping = asyncio.create_task(service.keep())
        assert [await states.get(), await states.get()] == ["publishing", "published"]
        address = service.address
        assert await reachable(network, address)
        for _ in range(2):
            relay.cut()
            assert await states.get() == "lost: the control connection has ended"
            assert [await states.get(), await states.get()] == ["publishing", "published"]
            assert service.address == address
            assert await reachable(network, address)
        await service.stop()
        await keeping
    assert states.empty()


@pytest.mark.parametrize("kind", ["ephemeral", "directory"])
async def test_tor_is_restarted(network: Network, keeper: Keeper, web: Path, tmp_path: Path, kind: str) -> None:
    states: asyncio.Queue[str] = asyncio.Queue()
    settings = ServiceSettings(web)
    way: Way = EphemeralService(settings, tmp_path / "key")
    if kind == "directory":
        way = DirectoryService(settings, tmp_path / "onion")
    service = OnionService(way, opening(network.service_control), on_state=states.put_nowait)
    await service.publish()
    address = service.address
    keeping = asyncio.create_task(service.keep())
    assert await reachable(network, address)
    while not states.empty():
        states.get_nowait()
    await asyncio.to_thread(keeper.restart_tor)
    async with asyncio.timeout(PATIENCE):
        assert (await states.get()).startswith("lost: ")
        while await states.get() != "published":
            pass
    assert service.address == address
    assert await reachable(network, address)
    await service.stop()
    await keeping


async def test_directory_beside_another_service(
    network: Network, control: Control, web: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other one"
    options = [("HiddenServiceDir", str(other)), ("HiddenServicePort", f"81 unix:{web}")]
    await control.ask(setconf(blocks(options)))
    way = DirectoryService(ServiceSettings(web), tmp_path / "onion")
    async with published(way, network) as service:
        assert service.proof_of_work
        assert ("HiddenServicePoWDefensesEnabled", "1") in await control.conf("HiddenServiceOptions")
        assert await reachable(network, service.address)
    assert await reachable(network, (other / "hostname").read_text().strip(), 81)
    assert await reachable(network, service.address), "it stays when the control connection is closed"

    uploads: list[Event] = []
    await control.add_event_listener(uploads.append, "HS_DESC")
    again = DirectoryService(ServiceSettings(web), tmp_path / "onion")
    async with published(again, network) as service:
        assert not uploads_of(service.address, uploads)
        assert await reachable(network, service.address)


async def test_somebody_else_sets_tors_services(
    network: Network, control: Control, web: Path, tmp_path: Path
) -> None:
    states: asyncio.Queue[str] = asyncio.Queue()
    way = DirectoryService(ServiceSettings(web), tmp_path / "onion")
    service = OnionService(way, opening(network.service_control), on_state=states.put_nowait)
    async with asyncio.timeout(PATIENCE):
        keeping = asyncio.create_task(service.keep())
        assert [await states.get(), await states.get()] == ["publishing", "published"]
        await control.ask("RESETCONF HiddenServiceDir")
        assert await states.get() == "lost: tor's configuration has changed, and the service is gone from it"
        assert [await states.get(), await states.get()] == ["publishing", "published"]
        assert await reachable(network, service.address)
        await service.stop()
        await keeping


@pytest.mark.parametrize("kind", ["ephemeral", "directory"])
async def test_client_authorization(network: Network, control: Control, web: Path, tmp_path: Path, kind: str) -> None:
    """Who is shut out loses what is open, and gets in neither on a circuit that stands nor by a known descriptor."""
    secret, other = PrivateKey.generate(), public_key(PrivateKey.generate())
    settings = ServiceSettings(web, authorized_clients=(f"descriptor:x25519:{public_key(secret)}", other))
    way: Way = EphemeralService(settings, tmp_path / "key")
    if kind == "directory":
        way = DirectoryService(settings, tmp_path / "onion")
    async with published(way, network) as service, await connect(network.client_control) as client:
        assert await refusal(network, service.address) == AUTHORIZATION_MISSING
        name = service.address.removesuffix(".onion")
        await client.ask(f"ONION_CLIENT_AUTH_ADD {name} x25519:{base64.b64encode(bytes(secret)).decode()}")
        assert await reachable(network, service.address)

        reader, writer = await stream_of("somebody", network, service.address)
        assert await service.replace_clients([other])
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        with pytest.raises((ProxyError, ProxyTimeoutError)):
            await stream_of("somebody", network, service.address)
        assert await refusal(network, service.address) == AUTHORIZATION_WRONG

        assert await service.replace_clients([other, public_key(secret)])
        assert service.state == "published"
        assert await reachable(network, service.address)
        assert await service.replace_clients([])
        await client.ask(f"ONION_CLIENT_AUTH_REMOVE {name}")
        assert await reachable(network, service.address)


async def test_a_detached_service_is_there_while_its_server_is_not(
    network: Network, control: Control, web: Path, tmp_path: Path
) -> None:
    secret = PrivateKey.generate()
    settings = ServiceSettings(web, authorized_clients=(public_key(secret),))

    def way() -> EphemeralService:
        return EphemeralService(settings, tmp_path / "key", detach=True)

    async with await connect(network.client_control) as client:
        async with published(way(), network) as service:
            address, name = service.address, service.address.removesuffix(".onion")
            await client.ask(f"ONION_CLIENT_AUTH_ADD {name} x25519:{base64.b64encode(bytes(secret)).decode()}")
            assert await reachable(network, address)
        assert await reachable(network, address)
        uploads: list[Event] = []
        await control.add_event_listener(uploads.append, "HS_DESC")
        async with published(way(), network) as service:
            assert not uploads_of(address, uploads)
            assert service.address == address
            assert await reachable(network, address)
        assert await take_back(control, tmp_path / NOTE_FILE) == address
        assert await control.info("onions/detached") == ""
        await client.ask(f"ONION_CLIENT_AUTH_REMOVE {name}")


def uploads_of(address: str, events: list[Event]) -> list[Event]:
    """Find the descriptors that tor has begun to upload for one service; it does that for others when it likes."""
    name = address.removesuffix(".onion")
    return [event for event in events if event.text.startswith(f"UPLOAD {name} ")]


def public_key(secret: PrivateKey) -> str:
    return base64.b32encode(bytes(secret.public_key)).decode().rstrip("=")


async def refusal(network: Network, host: str) -> int | None:
    """Ask until the client's tor refuses for good, and give its code; before, it may find nobody, or fail."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with pytest.raises((StreamFailed, TimeoutError, ConnectionError)) as caught:
                await ask(network, host)
            if isinstance(caught.value, StreamFailed) and caught.value.code in FINAL:
                return caught.value.code


async def stream_of(user: str, network: Network, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream on the circuit of one SOCKS user."""
    socks, _, port = network.client_socks.rpartition(":")
    proxy = Proxy(ProxyType.SOCKS5, socks, int(port), user, user, rdns=True)
    return await asyncio.open_connection(sock=await proxy.connect(host, 80, timeout=30))


async def test_one_stream_too_many_closes_the_circuit(network: Network, tmp_path: Path) -> None:
    hold = asyncio.Event()

    async def keep_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        await hold.wait()
        writer.close()

    server = await asyncio.start_server(keep_open, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    way = EphemeralService(ServiceSettings(target, max_streams=2), tmp_path / "key")
    async with published(way, network) as service, asyncio.timeout(PATIENCE):
        user = secrets.token_hex(8)

        async def stream() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await stream_of(user, network, service.address)
            assert await reader.readexactly(1) == b"!"
            return reader, writer

        streams = [await stream(), await stream()]
        with pytest.raises(ProxyError):
            await stream()
        for reader, writer in streams:
            assert await reader.read() == b""
            writer.close()
    hold.set()
    await end(server)
    await server.wait_closed()
