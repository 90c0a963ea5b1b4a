"""The keys of private services: as they are written, kept, and handed to tor."""

from __future__ import annotations

import base64
import os
import stat
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, environment, onion_rdv
from fakes import FakeControlPort
from nacl.public import PrivateKey
from offline_tor import COOKIE, offline_tor
from terminal import at_a_terminal

from onion_rdv.errors import ControlRefused, NoTor, SettingsError, UsageError
from onion_rdv.protocol import encode_onion_address
from onion_rdv.tor.client_authorization import Credential, narrows, public_key
from onion_rdv.tor.keyring import Keyring, hand_over
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = encode_onion_address(bytes(range(32)))
SERVICE = ADDRESS.removesuffix(".onion")
SOCKS = SocksPort("127.0.0.1", 9)
LOGIN = b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'


@pytest.mark.parametrize(
    ("old", "new", "shut_out"),
    [("", "", False), ("", "a", True), ("a", "ab", False), ("ab", "a", True), ("a", "b", True), ("a", "", False)],
)
def test_whether_somebody_is_shut_out(old: str, new: str, shut_out: bool) -> None:
    assert narrows(list(old), list(new)) is shut_out


@pytest.mark.parametrize("text", ["", "A" * 51, "A" * 53, "1" * 52, "=" * 52, "é" * 52])
def test_what_is_no_key_is_refused_in_words(text: str) -> None:
    with pytest.raises(SettingsError, match="not an x25519 public key"):
        public_key(text)


def test_a_credential_comes_back_and_its_key_is_its_own() -> None:
    made = Credential.generate(ADDRESS)
    assert made.service == SERVICE
    for text in (made.line, f"  {made.line}\n", made.line.lower(), made.line.upper(), f"{ADDRESS}:{made.line[57:]}"):
        assert Credential.parse(text) == made
    public = base64.b32decode(made.public_key + "====")
    assert public == bytes(PrivateKey(made.secret).public_key)
    assert public_key(f"descriptor:x25519:{made.public_key}") == made.public_key
    assert base64.b64decode(made.blob.removeprefix("x25519:")) == made.secret
    assert Credential.generate(ADDRESS) != made
    assert made.line[75:] not in repr(made)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[:0],
        lambda line: line[:-1],
        lambda line: line + "A",
        lambda line: line[1:],
        lambda line: line.replace("x25519", "x448"),
        lambda line: line[:-1] + "1",
        lambda line: line.replace(":", " ", 1),
        lambda line: line.replace("K", "\N{KELVIN SIGN}") + "\N{KELVIN SIGN}",
        lambda line: f"{line}\n{line}",
    ],
)
def test_what_is_no_line_is_refused_and_not_shown(change: object) -> None:
    assert callable(change)
    line = Credential.generate(ADDRESS).line
    with pytest.raises(UsageError, match="not the whole line") as caught:
        Credential.parse(change(line))
    assert line[75:] not in f"{caught.value} {caught.value.hint}"


def test_keys_are_kept_as_tor_reads_them(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "state" / "onion-auth")
    assert ring.read() == []
    assert not ring.remove(SERVICE)
    first, second = Credential.generate(ADDRESS), Credential.generate(ADDRESS)
    assert not ring.put(first)
    assert ring.put(second)
    assert ring.read() == [second]
    (file,) = ring.directory.iterdir()
    assert file.name == f"{SERVICE}.auth_private"
    assert file.read_text() == f"{second.line}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(ring.directory.stat().st_mode) == 0o700
    assert ring.remove(SERVICE)
    assert not ring.directory.exists()


@pytest.mark.parametrize("damage", ["content", "mode", "kind"])
def test_files_that_cannot_be_used(tmp_path: Path, damage: str) -> None:
    ring = Keyring(tmp_path)
    ring.put(Credential.generate(ADDRESS))
    file = tmp_path / f"{SERVICE}.auth_private"
    match damage:
        case "content":
            file.write_text("damaged")
        case "mode":
            file.chmod(0o640)
        case "kind":
            file.unlink()
            os.mkfifo(file)
    with pytest.raises(SettingsError, match=SERVICE):
        ring.read()


async def test_keys_go_to_the_tor_with_that_socks_port_alone(tmp_path: Path) -> None:
    credential = Credential.generate(ADDRESS)
    replies = {
        b"PROTOCOLINFO": LOGIN,
        b"AUTHENTICATE": b"250 OK\r\n",
        b"GETINFO net/listeners/socks": b'250-net/listeners/socks="unix:/x" "127.0.0.1:9"\r\n250 OK\r\n',
        b"ONION_CLIENT_AUTH_ADD": b"250 OK\r\n",
    }
    port = FakeControlPort(replies=replies)
    async with port.serving():
        await hand_over([credential], SOCKS, port.address)
        assert f"ONION_CLIENT_AUTH_ADD {SERVICE} {credential.blob}\r\n".encode() in port.received
        port.received.clear()
        with pytest.raises(NoTor, match=r"no control port of the tor at 127\.0\.0\.1:90 was found"):
            await hand_over([credential], SocksPort("127.0.0.1", 90), port.address)
        with pytest.raises(NoTor, match="no control port of the tor at"):
            await hand_over([credential], SocksPort("127.0.0.2", 9), port.address)
    assert not [line for line in port.received if line.startswith(b"ONION_CLIENT_AUTH_ADD")]


async def test_tors_that_take_no_keys(tmp_path: Path) -> None:
    credential = Credential.generate(ADDRESS)
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        with pytest.raises(NoTor, match="no control port of the tor at"):
            await hand_over([credential], SOCKS, tor.control)
        tor.cookie.unlink()
        with pytest.raises(ControlRefused, match="does not exist") as caught:
            await hand_over([credential], SOCKS, tor.control)
    assert credential.blob not in str(caught.value)


async def test_what_people_keep_and_forget(tmp_path: Path) -> None:
    env = environment(tmp_path)
    line = Credential.generate(ADDRESS).line
    assert (await onion_rdv("auth", "list", env=env)).stdout == ""
    code, screen = await at_a_terminal([*COMMAND, "auth", "add"], [("private server: ", line)], env)
    assert code == 0
    assert f"kept the key for {ADDRESS}" in screen
    assert line[75:] not in screen
    again = await onion_rdv("auth", "add", env=env, stdin=f"{line}\n")
    assert again.stderr == f"replaced the key for {ADDRESS}\n"
    assert (await onion_rdv("auth", "list", env=env)).stdout == f"{ADDRESS}\n"
    assert (await onion_rdv("auth", "list", "--json", env=env)).json == {"servers": [ADDRESS]}
    assert (await onion_rdv("auth", "remove", ADDRESS, env=env)).code == 0
    gone = await onion_rdv("auth", "remove", ADDRESS, env=env)
    assert (gone.code, gone.stdout) == (2, "")
    assert f"there is no key for {ADDRESS}" in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "typed", "says"),
    [
        (["{line}"], "", "others can see a command's arguments"),
        (["-"], "", "is empty"),
        (["-"], "{line}x", "not the whole line"),
        (["-"], "b{line}", "not the whole line"),
        (["-"], "{wrong}", "not a v3 onion address"),
    ],
)
async def test_lines_that_are_refused(arguments: list[str], typed: str, says: str, tmp_path: Path) -> None:
    line = Credential.generate(ADDRESS).line
    texts = {"line": line, "wrong": "b" + line[1:]}
    arguments = [argument.format(**texts) for argument in arguments]
    result = await onion_rdv("auth", "add", *arguments, env=environment(tmp_path), stdin=typed.format(**texts))
    assert (result.code, result.stdout) == (2, "")
    assert says in result.stderr
    assert line[75:] not in result.stderr
    assert not list(tmp_path.rglob("*.auth_private"))
