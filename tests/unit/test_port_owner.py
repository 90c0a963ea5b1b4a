"""Another user who poses as tor: a port that nobody named is used only where it is not a stranger's."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from command_line import environment, onion_rdv
from fakes import FakeControlPort
from identity import NOBODY, acting_as
from lone_network import lone_network
from offline_tor import COOKIE, offline_tor
from socks_proxy import RecordingSocks
from user_namespace import root_alone, users_of_a_container

from onion_rdv.cli.route import Route, tor_route
from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.errors import ControlRefused, NoTor, PortNotUsed, StreamFailed
from onion_rdv.protocol import encode_onion_address
from onion_rdv.tor import control, own_tor, owner
from onion_rdv.tor import socks as tor_socks
from onion_rdv.tor.client_authorization import Credential
from onion_rdv.tor.keyring import hand_over
from onion_rdv.tor.socks import SocksPort, find_socks, is_tor, open_stream
from onion_rdv.tor.supply import ControlSupply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")

STRANGER = 1001
ADDRESS = encode_onion_address(bytes(range(32)))
IMPOSTOR = {
    b"PROTOCOLINFO": b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n',
    b"GETINFO net/listeners/socks": b'250-net/listeners/socks="127.0.0.1:9"\r\n250 OK\r\n',
    b"AUTHENTICATE": b"250 OK\r\n",
    b"ONION_CLIENT_AUTH_ADD": b"250 OK\r\n",
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can open a port as somebody else")


@asynccontextmanager
async def opened_by(uid: int, opening: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Have somebody listen as ``opening`` does."""
    async with AsyncExitStack() as stack:
        with acting_as(uid):
            opened = await stack.enter_async_context(opening)
        yield opened


def impostor(port: int = 0, uid: int = STRANGER) -> AbstractAsyncContextManager[FakeControlPort]:
    """Have somebody listen at a port, and let everybody in as a control port without authentication does."""
    return opened_by(uid, FakeControlPort(replies=IMPOSTOR).serving(port))


def listen_as(uid: int, host: str) -> socket.socket:
    with acting_as(uid):
        return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


@needs_root
@pytest.mark.parametrize("uid", [0, 1, 999, 1000, STRANGER, 61183, 61184, 65519, 65520, NOBODY])
async def test_who_may_have_opened_a_port_that_nobody_named(uid: int) -> None:
    async with impostor(uid=uid) as port:
        found = await control.find([port.address])
        assert (found is not None) is (uid in {0, 1, 999, 61184, 65519})
        if found is None:
            assert port.received == []
            return
        await found.close()


@needs_root
@pytest.mark.parametrize(
    ("listens", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::1"),
    ],
)
def test_the_kernel_says_who_listens(listens: str, reached: str) -> None:
    if listens == "::":
        with acting_as(STRANGER):
            listener = socket.create_server((listens, 0), family=socket.AF_INET6, dualstack_ipv6=True)
    elif listens.startswith("::ffff"):
        with acting_as(STRANGER):
            listener = socket.socket(socket.AF_INET6)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((listens, 0))
            listener.listen()
    else:
        listener = listen_as(STRANGER, listens)
    with closing(listener):
        port = listener.getsockname()[1]
        assert owner.of_listener(reached, port) == STRANGER
        with socket.create_connection((reached, port)) as connected:
            assert owner.of_peer(connected) == STRANGER
            assert owner.of_listener(*connected.getsockname()[:2]) is None, (
                "that one is connected, and does not listen"
            )
    assert owner.of_listener(reached, port) is None


@needs_root
def test_who_listens_at_the_very_address_goes_before_who_listens_at_all_of_another_kind() -> None:
    with closing(listen_as(0, "127.0.0.1")) as ours:
        port = ours.getsockname()[1]
        with acting_as(STRANGER):
            other = socket.create_server(("::", port), family=socket.AF_INET6)
        with closing(other):
            assert owner.of_listener("127.0.0.1", port) == 0
            assert owner.of_listener("::1", port) == STRANGER


@needs_root
async def test_an_impostor_is_passed_over_for_tor_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        async with impostor() as port:
            found = await control.find([port.address, tor.control])
            assert found is not None
            assert str(found.address) == tor.control
            await found.close()
            assert port.received == []
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{port.address} belongs to {STRANGER}, who is neither this user nor a system account" in record.message
    assert "name it with --control" in record.message


@needs_root
async def test_a_port_that_was_named_is_trusted() -> None:
    async with impostor() as port, await control.connect(port.address):
        assert b"AUTHENTICATE\r\n" in port.received


async def test_where_nobody_says_who_listens_nothing_is_presumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(owner, "_TABLES", tmp_path)
    async with impostor(uid=os.geteuid()) as port:
        assert await control.find([port.address]) is None
        assert port.received == []
        assert f"{port.address} takes connections, and who listens there cannot be told" in caplog.text
    async with RecordingSocks([1]) as proxy:
        assert await find_socks((proxy.socks.port,)) is None
        assert f"{proxy.socks} takes connections, and who listens there cannot be told" in caplog.text
        assert "name it with --socks" in caplog.text
    assert proxy.requests == []
    caplog.clear()
    assert await find_socks((proxy.socks.port,)) is None
    assert await control.find([str(proxy.socks)]) is None
    assert caplog.records == [], "nothing is there, and so nothing is told of it"


async def test_a_connection_that_ends_before_it_is_known_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = control.ControlAddress.open

    def open_and_see_it_end(address: control.ControlAddress, timeout: float) -> socket.socket:
        connected = opened(address, timeout)
        with closing(listener.accept()[0]) as accepted:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with pytest.raises(ConnectionResetError):
            connected.recv(1)
        return connected

    monkeypatch.setattr(control.ControlAddress, "open", open_and_see_it_end)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(NoTor, match=f"no control port at {address}"):
            await control.connect(address, checked=True)
        assert await control.find([address]) is None


async def test_a_tor_of_our_own_is_used_where_nobody_says_who_listens_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = {"first", "second"}
    launched: list[SimpleNamespace] = []

    async def stop() -> None:
        """End nothing: here each tor ends with its block."""

    async def launch(*_: Any, **__: Any) -> SimpleNamespace:
        return launched[-1]

    def own(name: str, tor: str, socks: str | None = None) -> SimpleNamespace:
        return SimpleNamespace(control=tor, socks=socks, stop=stop, runs=lambda: name in running)

    monkeypatch.setattr(owner, "_TABLES", tmp_path)
    monkeypatch.setattr(own_tor, "launch", launch)
    monkeypatch.setattr(control, "find", partial(control.find, []))
    monkeypatch.setattr(tor_socks, "find_socks", partial(find_socks, ()))
    async with RecordingSocks([4]) as proxy:
        launched.append(own("first", "127.0.0.1:1", str(proxy.socks)))
        async with tor_route(Route(None, None, None, tmp_path, 20)) as socks:
            with pytest.raises(StreamFailed, match="the host cannot be reached"):  # so the proxy says
                await open_stream(socks, "smp.example", 5223, 20)
            assert await is_tor(socks)
            running.remove("first")
            proxy.requests.clear()
            with pytest.raises(NoTor, match="nothing answers at the SOCKS port"):
                await open_stream(socks, "smp.example", 5223, 20)
            assert not await is_tor(socks)
            assert proxy.requests == [], "whoever listens there now is not the tor that was started"
    supply = ControlSupply(None, own_directory=tmp_path / "own")
    with offline_tor(tmp_path / "second", COOKIE) as second, offline_tor(tmp_path / "third", COOKIE) as third:
        launched.append(own("second", second.control))
        await (await supply()).close()
        launched.append(own("third", third.control))
        async with await supply() as kept:
            assert str(kept.address) == second.control, "it is started once"
        running.remove("second")
        async with await supply() as renewed:
            assert str(renewed.address) == third.control


def test_a_kernel_without_ipv6_says_who_listens_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(listen_as(os.geteuid(), "127.0.0.1")) as listener:
        (tmp_path / "tcp").write_text(Path("/proc/self/net/tcp").read_text())
        monkeypatch.setattr(owner, "_TABLES", tmp_path)
        address = listener.getsockname()
        assert owner.of_listener(*address) == os.geteuid()
    (tmp_path / "tcp").write_text(Path("/proc/self/net/tcp").read_text())
    assert owner.of_listener(*address) is None
    (tmp_path / "tcp").unlink()
    with pytest.raises(OSError, match="No such file"):
        owner.of_listener(*address)


@needs_root
@pytest.mark.parametrize("uid", [0, STRANGER])
async def test_a_control_socket_in_the_file_system(tmp_path: Path, uid: int) -> None:
    path, port = tmp_path / "control", FakeControlPort(replies=IMPOSTOR)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with acting_as(uid):  # whose socket it is, is said of the moment in which it begins to listen
            server = await asyncio.start_unix_server(port._serve, sock=listener)
        async with server:
            found = await control.find([f"unix:{path}"])
            assert (found is not None) is (uid == 0)
            if found is not None:
                await found.close()
    assert bool(port.received) is (uid == 0)


_FIND = """
import asyncio, sys
from onion_rdv.tor import control
from onion_rdv.tor.socks import find_socks
async def find():
    kind, _, port = sys.argv[1].partition(":")
    if kind == "socks":
        return await find_socks((int(port),))
    found = await control.find([sys.argv[1]])
    if found is not None:
        await found.close()
    return found
print(asyncio.run(find()) is not None)
"""


async def is_found(where: str, wrapper: tuple[str, ...]) -> bool:
    """Look for a control port at ``where`` (for a SOCKS port at ``socks:PORT``) from inside a namespace."""
    child = await asyncio.create_subprocess_exec(
        *wrapper, sys.executable, "-c", _FIND, where, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert said in {b"True\n", b"False\n"}
    return said == b"True\n"


@asynccontextmanager
async def socket_of_another(path: Path, uid: int = 1) -> AsyncIterator[str]:
    """Have somebody, a system account where nobody is named, let everybody in at a control socket."""
    port = FakeControlPort(replies=IMPOSTOR)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with acting_as(uid):
            server = await asyncio.start_unix_server(port._serve, sock=listener)
        async with server:
            yield f"unix:{path}"


@needs_root
async def test_a_control_socket_whose_owner_a_user_namespace_hides(tmp_path: Path) -> None:
    async with socket_of_another(tmp_path / "control") as address:
        assert await is_found(address, root_alone()), "as a service with PrivateUsers= finds it"
        with users_of_a_container() as wrapper:
            assert await is_found(address, wrapper), "65534 is a user there, but not the one whom it is shown for"


@needs_root
@pytest.mark.parametrize("ourselves", [0, NOBODY])
async def test_a_port_whose_owner_a_user_namespace_hides(ourselves: int, capfd: pytest.CaptureFixture[str]) -> None:
    with users_of_a_container(ourselves) as wrapper:
        async with impostor() as port:
            assert not await is_found(port.address, wrapper), "also not by the user as whom everybody is shown"
            assert port.received == []
        async with opened_by(STRANGER, RecordingSocks([1])) as proxy:
            assert not await is_found(f"socks:{proxy.socks.port}", wrapper)
            assert proxy.requests == []
    said = capfd.readouterr().err
    for address in (port.address, proxy.socks):
        assert f"{address} takes connections, and who listens there cannot be told" in said


@needs_root
@pytest.mark.parametrize("uid", [0, STRANGER])
async def test_a_cookie_proves_nothing_where_it_is_a_strangers(tmp_path: Path, uid: int) -> None:
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        os.chown(tor.cookie, uid, -1)
        if uid == 0:
            found = await control.find([tor.control])
            assert found is not None
            await found.close()
            return
        with pytest.raises(ControlRefused, match="is a file of neither this user nor a system account"):
            await control.find([tor.control])
        await (await control.connect(tor.control)).close()


@needs_root
async def test_a_cookie_without_a_path_is_not_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, STRANGER, -1)
    monkeypatch.chdir(tmp_path)
    offer = b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=SAFECOOKIE\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'
    async with FakeControlPort(replies={b"PROTOCOLINFO": offer}).serving() as port:
        with pytest.raises(ControlRefused, match="did not have the location of our authentication cookie"):
            await control.find([port.address])


@needs_root
async def test_a_cookie_whose_owner_a_user_namespace_hides(tmp_path: Path) -> None:
    with users_of_a_container() as wrapper, offline_tor(tmp_path / "tor", COOKIE) as tor:
        os.chown(tor.cookie, 1, -1)
        tor.cookie.chmod(0o644)  # root is not that user's there
        assert await is_found(tor.control, wrapper)


@needs_root
async def test_who_takes_the_port_of_a_tor_that_ended_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supply = ControlSupply(None, own_directory=tmp_path / "own")
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        monkeypatch.setattr(control, "find", partial(control.find, [tor.control]))
        await (await supply()).close()
    number = control.ControlAddress.parse(tor.control).port
    async with impostor(number) as port:
        with pytest.raises(PortNotUsed, match=f"{tor.control} belongs to {STRANGER}"):
            await supply()
        assert port.received == []
    with offline_tor(tmp_path / "again", COOKIE, port=str(number)):
        await (await supply()).close()
    assert not supply.has_own_tor


@needs_root
async def test_nor_who_takes_the_port_of_a_tor_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []

    async def stop() -> None:
        """End nothing: here each tor ends with its block."""

    async def launch(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(control=launched[-1], socks=None, stop=stop, runs=lambda: False)

    monkeypatch.setattr(own_tor, "launch", launch)
    monkeypatch.setattr(control, "find", partial(control.find, []))
    supply = ControlSupply(None, own_directory=tmp_path / "own")
    with offline_tor(tmp_path / "first", COOKIE) as first:
        launched.append(first.control)
        await (await supply()).close()
    async with impostor(control.ControlAddress.parse(first.control).port) as port:
        with offline_tor(tmp_path / "second", COOKIE) as second:
            launched.append(second.control)
            async with await supply() as found:
                assert str(found.address) == second.control
        assert port.received == []


@needs_root
async def test_keys_for_private_servers_do_not_go_to_an_impostor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    credential, socks = Credential.generate(ADDRESS), SocksPort("127.0.0.1", 9)
    async with impostor() as port:
        monkeypatch.setattr(control, "USUAL_ADDRESSES", (port.address,))
        with pytest.raises(NoTor, match="no control port of the tor at"):
            await hand_over([credential], socks)
        assert port.received == []
        assert f"{port.address} belongs to {STRANGER}" in caplog.text
        assert "--socks-control" in caplog.text
        await hand_over([credential], socks, port.address)  # this names it
        assert f"ONION_CLIENT_AUTH_ADD {credential.service} {credential.blob}\r\n".encode() in port.received


@needs_root
async def test_a_socket_that_two_addresses_lead_to_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "var").symlink_to(tmp_path)
    async with socket_of_another(tmp_path / "control", STRANGER):
        addresses = (f"unix:{tmp_path}/control", f"unix:{tmp_path}/var/control")
        monkeypatch.setattr(control, "USUAL_ADDRESSES", addresses)
        with pytest.raises(NoTor, match="no control port of the tor at"):
            await hand_over([Credential.generate(ADDRESS)], SocksPort("127.0.0.1", 9))
        assert await control.find(addresses) is None
    assert [record.message.count(addresses[0]) for record in caplog.records] == [1, 1]


@needs_root
async def test_a_socks_port_of_a_stranger(caplog: pytest.LogCaptureFixture) -> None:
    async with opened_by(STRANGER, RecordingSocks([1])) as fake, RecordingSocks([1]) as tor:
        assert await find_socks((fake.socks.port, tor.socks.port)) == tor.socks
        assert await find_socks((fake.socks.port,)) is None
        assert fake.requests == []
        assert await is_tor(fake.socks), "a port that was named is trusted"
    assert f"{fake.socks} belongs to {STRANGER}" in caplog.text
    assert "name it with --socks" in caplog.text


@needs_root
async def test_who_takes_the_socks_port_of_a_tor_that_ended_is_asked_for_nothing() -> None:
    async with RecordingSocks([1]) as proxy:
        found = await find_socks((proxy.socks.port,))
        assert found is not None
        proxy.die()
        with pytest.raises(NoTor, match="nothing answers at the SOCKS port"):
            await open_stream(found, "smp.example", 5223, 20)
        proxy.requests.clear()
        with acting_as(STRANGER):
            await proxy.rise()
        with pytest.raises(PortNotUsed, match=f"{found} belongs to {STRANGER}"):
            await open_stream(found, "smp.example", 5223, 20)
        with pytest.raises(PortNotUsed):
            await RendezvousClient(found, RendezvousServer.parse(ADDRESS), 20).fetch(bytes(16))
        assert not await is_tor(found)
        assert proxy.requests == []


@needs_root
async def test_nor_who_takes_that_of_a_tor_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop() -> None:
        """End nothing: there is a proxy in tor's place."""

    async def launch(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(control="127.0.0.1:1", socks=str(proxy.socks), stop=stop, runs=lambda: False)

    monkeypatch.setattr(own_tor, "launch", launch)
    monkeypatch.setattr(tor_socks, "find_socks", partial(find_socks, ()))
    async with (
        opened_by(STRANGER, RecordingSocks([1])) as proxy,
        tor_route(Route(None, None, None, tmp_path, 20)) as socks,
    ):
        with pytest.raises(PortNotUsed):
            await open_stream(socks, "smp.example", 5223, 20)
        assert proxy.requests == []


@needs_root
async def test_a_command_passes_over_impostors_in_all_usual_places(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    ports = dict.fromkeys(("127.0.0.1:9050", "127.0.0.1:9150", "127.0.0.1:9051", "127.0.0.1:9151"), listen)
    async with lone_network(ports, uid=STRANGER) as wrapper:
        done = await onion_rdv("doctor", "--server", ADDRESS, env=environment(tmp_path), wrapper=wrapper)
    assert done.code == 3
    for port in ports:
        assert f"{port} belongs to {STRANGER}" in done.stderr
    assert heard
    assert not any(heard)
