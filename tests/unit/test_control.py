"""Opening a control port, being let in, asking and listening: against a real tor, and against what is none."""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes import FakeControlPort
from identity import NOBODY, acting_as
from offline_tor import COOKIE, OfflineTor, offline_tor

from onion_rdv.errors import CommandRefused, ControlLost, ControlRefused, NoTor, SettingsError
from onion_rdv.tor.control import RECOMMENDED_TOR, ControlAddress, Event, Reply, connect, connection, find
from onion_rdv.tor.control.connection import read_bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOLINFO = b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=%b\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    with offline_tor(tmp_path / "tor", COOKIE) as running:
        yield running


def hash_password(password: bytes) -> str:
    done = subprocess.run([b"tor", b"--quiet", b"--hash-password", password], capture_output=True, check=True)
    return done.stdout.decode().strip()


def stem_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in {"Tor listener", "Event notifier"}]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1:9051", "127.0.0.1:9051"),
        ("127.8.9.10:1", "127.8.9.10:1"),
        ("localhost:9051", "127.0.0.1:9051"),
        ("[::1]:9051", "[::1]:9051"),
        ("[0:0::0:1]:65535", "[::1]:65535"),
        ("unix:/run/tor/control", "unix:/run/tor/control"),
    ],
)
def test_addresses_on_this_machine(text: str, canonical: str) -> None:
    assert str(ControlAddress.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9051",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:9051 ",
        "127.0.0.1.:9051",
        "127.0.0.256:9051",
        "0.0.0.0:9051",
        "192.0.2.1:9051",
        "tor.example:9051",
        "::1:9051",
        "[::]:9051",
        "[2001:db8::1]:9051",
        "[::1%lo]:9051",
        "unix:",
        "unix:control",
        "unix:/a\0b",
        "unix:/" + "a" * 107,
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not the address of a control port on this machine"):
        ControlAddress.parse(text)


async def test_let_in_by_cookie(tor: OfflineTor) -> None:
    async with await connect(tor.control) as control:
        assert str(control.address) == tor.control
        assert await control.version() >= RECOMMENDED_TOR
        assert await control.process_uid() == os.getuid()
        assert await control.bootstrap() == (0, "starting")
        assert await control.socks_listeners() == []
        assert await control.conf("SocksPort") == [("SocksPort", "0")]
        assert await control.conf("HiddenServiceOptions") == []
        assert (await control.info("config-text")).startswith("ControlPort auto\n")
        assert not control.closed.is_set()
    assert control.closed.is_set()
    assert stem_threads() == []


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as trial, suppress(OSError):
        trial.bind(("::1", 0))
        return True
    return False


@pytest.mark.parametrize("port", ["unix:{}/control", *(["[::1]:auto"] if has_ipv6() else [])])
async def test_other_kinds_of_port(tmp_path: Path, port: str) -> None:
    with offline_tor(tmp_path / "tor", COOKIE, port=port.format(tmp_path)) as tor:
        async with await connect(tor.control) as control:
            assert await control.process_uid() == os.getuid()


async def test_let_in_without_authentication(tmp_path: Path) -> None:
    with offline_tor(tmp_path / "tor") as tor:
        async with await connect(tor.control) as control:
            assert await control.socks_listeners() == []


@pytest.mark.parametrize("password", [b"correct horse", b'with "quotes" and \\ backslash\\', "schlüssel".encode()])
async def test_let_in_by_password(tmp_path: Path, password: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(password + b"\n")
    with offline_tor(tmp_path / "tor", f"HashedControlPassword {hash_password(password)}") as tor:
        async with await connect(tor.control, password_file=file) as control:
            assert await control.process_uid() == os.getuid()


async def test_wrong_and_missing_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    with offline_tor(tmp_path / "tor", f"HashedControlPassword {hash_password(b'right')}") as tor:
        with pytest.raises(ControlRefused, match="the password is wrong") as caught:
            await connect(tor.control, password_file=file)
        assert "mend the password file" in caught.value.hint
        with pytest.raises(ControlRefused, match="it wants a password") as caught:
            await connect(tor.control)
        assert "put its password into a file" in caught.value.hint
    assert stem_threads() == []


async def test_the_cookie_opens_where_the_password_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    with offline_tor(tmp_path / "tor", COOKIE, f"HashedControlPassword {hash_password(b'right')}") as tor:
        async with await connect(tor.control, password_file=file) as control:
            assert await control.process_uid() == os.getuid()


async def test_every_way_in_tells_its_trouble(tmp_path: Path) -> None:
    with offline_tor(tmp_path / "tor", COOKIE, f"HashedControlPassword {hash_password(b'right')}") as tor:
        tor.cookie.write_bytes(bytes(31))
        with pytest.raises(ControlRefused, match=r"it wants a password; its cookie .* does not have 32 bytes"):
            await connect(tor.control)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"nul\0"])
async def test_password_files_that_hold_no_password(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="does not hold one line"):
        await connect("127.0.0.1:1", password_file=file)


async def test_password_file_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        await connect("127.0.0.1:1", password_file=tmp_path / "none")


async def test_cookie_of_another_tor(tor: OfflineTor) -> None:
    tor.cookie.write_bytes(bytes(32))
    with pytest.raises(ControlRefused, match=f"the cookie {tor.cookie} is not this tor's"):
        await connect(tor.control)


async def test_cookie_gone(tor: OfflineTor) -> None:
    tor.cookie.unlink()
    with pytest.raises(ControlRefused, match=f"{tor.cookie} does not exist"):
        await connect(tor.control)


GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.mark.parametrize(
    ("mode", "cure"),
    [
        (0o040, f"add this user to the group {GROUP} (usermod -aG {GROUP} USER), and log in again"),
        (0o000, "let tor give its group access (CookieAuthFileGroupReadable 1 in torrc)"),
    ],
)
async def test_cookie_closed(mode: int, cure: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        cookie = Path(place) / "cookie"
        with offline_tor(Path(place) / "tor", COOKIE, f"CookieAuthFile {cookie}") as tor:
            cookie.chmod(mode)
            with pytest.raises(ControlRefused) as caught:
                await connect_as_somebody_else(tor)
    assert f"{cookie} is closed to this user (mode {mode:04o}, group {GROUP})" in caught.value.message
    assert caught.value.hint == cure


async def connect_as_somebody_else(tor: OfflineTor) -> None:
    with acting_as(NOBODY):
        control = await connect(tor.control)
    await control.close()


async def test_directory_of_the_cookie_closed(tor: OfflineTor) -> None:
    tor.directory.chmod(0o010)
    with pytest.raises(ControlRefused, match=r"is closed to this user \(mode 0[0-7]{3}, group"):
        await connect_as_somebody_else(tor)
    tor.directory.chmod(0o700)


async def test_control_socket_closed() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        (Path(place) / "control").mkdir(mode=0o700)
        path = Path(place) / "control" / "socket"
        with offline_tor(Path(place) / "tor", COOKIE, port=f"unix:{path}") as tor:
            path.parent.chmod(0o711)
            path.chmod(0o060)
            with pytest.raises(ControlRefused, match=f"{path} is closed to this user") as caught:
                await connect_as_somebody_else(tor)
    assert caught.value.hint.startswith("add this user to the group")


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (FakeControlPort(greeting=b"\0\xff\r\n" * 100), "answers, but not as a control port does"),
        (FakeControlPort(greeting=b"220 mail.example ESMTP\r\n"), "answers, but not as a control port does"),
        (FakeControlPort(replies={b"P": b"HTTP/1.0 501 no\r\n\r\n"}), "answers, but not as a control port does"),
        (FakeControlPort(hangs_up=True), "takes connections and closes them"),
        (FakeControlPort(), "did not answer within 0.5 seconds"),
        (FakeControlPort(greeting=b"SSH-2.0-x\r\n"), "did not answer within 0.5 seconds"),
        (FakeControlPort(replies={b"PROTOCOLINFO": PROTOCOLINFO % b"NULL"}), "did not answer within 0.5 seconds"),
    ],
)
async def test_what_is_no_control_port(port: FakeControlPort, said: str) -> None:
    async with port.serving():
        with pytest.raises(NoTor, match=said) as caught:
            await connect(port.address, timeout=0.5 if "0.5" in said else 20)
        assert not isinstance(caught.value, ControlRefused)
        assert await find([port.address], timeout=0.5) is None
    assert stem_threads() == []


async def test_a_file_is_never_sent_as_a_plain_cookie(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"S" * 32)
    offer = PROTOCOLINFO % f'COOKIE COOKIEFILE="{secret}"'.encode()
    port = FakeControlPort(replies={b"PROTOCOLINFO": offer, b"AUTHENTICATE": b"250 OK\r\n"})
    async with port.serving():
        with pytest.raises(ControlRefused, match="no way in that is safe"):
            await connect(port.address)
    assert port.received == [b"PROTOCOLINFO 1\r\n"]


async def test_a_file_is_never_shown_by_safecookie(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"S" * 32)
    offer = PROTOCOLINFO % f'COOKIE,SAFECOOKIE COOKIEFILE="{secret}"'.encode()
    challenge = f"250 AUTHCHALLENGE SERVERHASH={'A' * 64} SERVERNONCE={'B' * 64}\r\n".encode()
    port = FakeControlPort(
        replies={b"PROTOCOLINFO": offer, b"AUTHCHALLENGE": challenge, b"AUTHENTICATE": b"250 OK\r\n"}
    )
    async with port.serving():
        with pytest.raises(ControlRefused, match="is not this tor's"):
            await connect(port.address)
    assert not [line for line in port.received if line.startswith(b"AUTHENTICATE")]


@pytest.mark.parametrize("path", [rb"/run/tor/\377", rb"/run/tor/\000"])
async def test_a_cookie_at_what_is_no_path(path: bytes) -> None:
    offer = PROTOCOLINFO % b'COOKIE,SAFECOOKIE COOKIEFILE="%b"' % path
    async with FakeControlPort(replies={b"PROTOCOLINFO": offer}).serving() as port:
        with pytest.raises(ControlRefused, match="the path of its cookie is not one in UTF-8") as caught:
            await find([port.address])
    assert "CookieAuthFile" in caught.value.hint


async def test_nothing_listens(tmp_path: Path) -> None:
    with pytest.raises(NoTor, match=r"no control port at unix:.*/none \(no such file or directory\)"):
        await connect(f"unix:{tmp_path}/none")
    with pytest.raises(NoTor, match=r"no control port at 127.0.0.1:1 \(connection refused\)"):
        await connect("127.0.0.1:1")
    assert await find([f"unix:{tmp_path}/none", "127.0.0.1:1"]) is None


async def test_find_goes_on_to_the_port_that_lets_us_in(tmp_path: Path, tor: OfflineTor) -> None:
    with offline_tor(tmp_path / "other", f"HashedControlPassword {hash_password(b'right')}") as locked:
        with pytest.raises(ControlRefused, match="it wants a password"):
            await find(["127.0.0.1:1", locked.control])
        control = await find(["127.0.0.1:1", locked.control, tor.control])
    assert control is not None
    assert str(control.address) == tor.control
    await control.close()


async def test_find_asks_a_socket_once_under_two_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with offline_tor(tmp_path / "tor", COOKIE, port=f"unix:{tmp_path}/real/control") as tor:
        tor.cookie.unlink()
        with pytest.raises(ControlRefused) as caught:
            await find([f"unix:{tmp_path}/{name}/control" for name in ("link", "real")])
    assert caught.value.message.count("does not exist") == 1
    assert "/link/control" in caught.value.message


async def test_refused_commands(tor: OfflineTor) -> None:
    async with await connect(tor.control) as control:
        with pytest.raises(CommandRefused, match='GETINFO: 552 Unrecognized key "no-such-key"'):
            await control.info("no-such-key")
        with pytest.raises(CommandRefused, match="GETCONF: 552"):
            await control.conf("NoSuchOption")
        with pytest.raises(CommandRefused, match="SETEVENTS: 552"):
            await control.add_event_listener(print, "NO_SUCH_EVENT")
        assert not (await control.msg("NONSENSE")).ok
        for line in ("GETINFO version\r\nSIGNAL HALT", "GETINFO version\n", "GETINFO vérsion"):
            with pytest.raises(ValueError, match="one line of printable ASCII"):
                await control.msg(line)


async def test_events_arrive_on_the_loop(tor: OfflineTor) -> None:
    changed: asyncio.Queue[tuple[Event, threading.Thread]] = asyncio.Queue()
    signals: asyncio.Queue[Event] = asyncio.Queue()

    def listen(event: Event) -> None:
        changed.put_nowait((event, threading.current_thread()))

    async with await connect(tor.control) as control, asyncio.timeout(30):
        await control.add_event_listener(listen, "CONF_CHANGED")
        await control.add_event_listener(signals.put_nowait, "SIGNAL")
        await control.ask("SETCONF Nickname=changed")
        assert await changed.get() == (Event("CONF_CHANGED", "Nickname=changed\nOK"), threading.main_thread())
        await control.remove_event_listener(listen)
        os.kill(tor.pid, signal.SIGHUP)
        assert await signals.get() == Event("SIGNAL", "RELOAD")
        assert changed.empty()
        await control.remove_event_listener(signals.put_nowait)


async def test_tor_ends(tor: OfflineTor) -> None:
    control = await connect(tor.control)
    await control.add_event_listener(print, "SIGNAL")
    os.kill(tor.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        await control.closed.wait()
    with pytest.raises(ControlLost, match=tor.control):
        await control.info("version")
    await control.remove_event_listener(print)
    await control.close()
    assert stem_threads() == []


async def test_tor_hangs(tor: OfflineTor, monkeypatch: pytest.MonkeyPatch) -> None:
    control = await connect(tor.control)
    monkeypatch.setattr(connection, "REPLY_SECONDS", 0.2)
    os.kill(tor.pid, signal.SIGSTOP)
    with pytest.raises(ControlLost, match="did not answer for"):
        await control.info("version")
    assert control.closed.is_set()
    assert stem_threads() == []


async def test_many_commands_at_once(tor: OfflineTor) -> None:
    async with await connect(tor.control) as control:
        uids = await asyncio.gather(*(control.process_uid() for _ in range(50)))
    assert set(uids) == {os.getuid()}


async def test_connecting_is_cancelled() -> None:
    port = FakeControlPort()
    async with port.serving():
        opening = asyncio.create_task(connect(port.address))
        async with asyncio.timeout(30):
            while not port.received:
                await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert stem_threads() == []


async def test_no_logging_shows_what_is_said(tor: OfflineTor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    logging.getLogger("stem").addHandler(caplog.handler)
    logging.getLogger("stem").setLevel(1)
    try:
        async with await connect(tor.control) as control:
            await control.msg("ADD_ONION ED25519-V3:SECRET Port=80")
    finally:
        logging.getLogger("stem").removeHandler(caplog.handler)
    assert [record for record in caplog.records if record.name.startswith("stem")] == []


def test_bootstrap_phase() -> None:
    text = 'NOTICE BOOTSTRAP PROGRESS=50 TAG=loading_descriptors SUMMARY="Loading \\"relay\\" descriptors"'
    assert read_bootstrap(text) == (50, 'loading \\"relay\\" descriptors')
    assert read_bootstrap("NOTICE CIRCUIT_ESTABLISHED PROGRESS=50") is None
    assert read_bootstrap("NOTICE BOOTSTRAP") is None


@pytest.mark.parametrize(
    ("code", "ok"), [(250, True), (251, True), (252, True), (199, False), (451, False), (550, False)]
)
def test_which_replies_are_good(code: int, ok: bool) -> None:
    assert Reply(code, ("said",)).ok is ok
    assert Reply(code, ("first", "said")).text == f"{code} said"
