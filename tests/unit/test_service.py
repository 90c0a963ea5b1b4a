"""The server as a process, where it cannot start: what it says, its exit code, and what it leaves as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import example_torrc
import pytest
from command_line import COMMAND, environment, onion_rdv
from offline_tor import offline_tor

from onion_rdv.errors import SettingsError
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.rendezvous.settings import ServerSettings
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.target import let_tor_in


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, ONION_RDV_CONTROL="127.0.0.1:1")


async def test_no_control_port_where_one_is_named(env: dict[str, str]) -> None:
    result = await onion_rdv("serve", env=env)
    assert (result.code, result.stdout) == (3, "")
    assert "no control port at 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--control", "tor.example:9051"], "not the address of a control port on this machine"),
        (["--authorized-client", "nonsense"], "not an x25519 public key"),
        (["--lifetime", "60"], "kept longer than they are open"),
        (["--port", "0"], "--port"),
        (["--listen", "/tmp/" + "x" * 120], "tor cannot be given the Unix socket"),
        (["--state-dir", "/proc/nonsense"], "state directory"),
    ],
)
async def test_settings_that_cannot_be(arguments: list[str], says: str, env: dict[str, str], tmp_path: Path) -> None:
    with offline_tor(tmp_path / "tor", "CookieAuthentication 1") as tor:
        result = await onion_rdv("serve", *arguments, env=env | {"ONION_RDV_CONTROL": tor.control})
    assert (result.code, result.stdout) == (2, "")
    assert says in result.stderr


async def test_a_damaged_key_is_left_as_it_is(env: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / ".local" / "state" / "onion-rdv" / "server"
    directory.mkdir(mode=0o700, parents=True)
    (directory / KEY_FILE).write_text("not a key")
    (directory / KEY_FILE).chmod(0o600)
    with offline_tor(tmp_path / "tor", "CookieAuthentication 1") as tor:
        result = await onion_rdv("serve", env=env | {"ONION_RDV_CONTROL": tor.control})
    assert result.code == 2
    assert "damaged" in result.stderr
    assert (directory / KEY_FILE).read_text() == "not a key"


async def test_a_store_of_another_service(env: dict[str, str], tmp_path: Path) -> None:
    """The key was lost, and a new one made: the store's buckets can be found by nobody under it."""
    directory = tmp_path / ".local" / "state" / "onion-rdv" / "server"
    with offline_tor(tmp_path / "tor", "CookieAuthentication 1") as tor:
        env["ONION_RDV_CONTROL"] = tor.control
        process = subprocess.Popen(
            [*COMMAND, "serve"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            while not (directory / STORE_FILE).exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)  # it waits for a tor that has no network
            said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0, said
        (directory / KEY_FILE).unlink()
        result = await onion_rdv("serve", env=env)
    assert (result.code, result.stdout) == (9, "")
    assert "another" in result.stderr


@pytest.mark.parametrize("with_service", [False, True])
def test_the_torrc_that_ships_is_right(tmp_path: Path, with_service: bool) -> None:
    torrc = example_torrc.written(tmp_path, with_service=with_service)
    assert ("\nHiddenServiceDir" in torrc.read_text()) == with_service
    command = [*example_torrc.command(tmp_path, torrc), "--verify-config"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "Configuration was valid" in said
    complaints = [line for line in said.splitlines() if "[warn]" in line and "as root" not in line]
    assert not complaints


# The Unix socket, and who may use it

NOBODY = 65534


def test_a_socket_for_ourselves_stays_closed(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    socket.touch(0o600)
    for uid in (os.geteuid(), 0):
        let_tor_in(socket, uid)
        assert socket.stat().st_mode & 0o777 == 0o600


def test_another_users_tor_is_let_in(tmp_path: Path) -> None:
    open_directory = Path(tempfile.mkdtemp(dir="/tmp"))
    open_directory.chmod(0o711)
    try:
        socket = open_directory / "socket"
        socket.touch(0o600)
        let_tor_in(socket, NOBODY)
        status = socket.stat()
        # As root: given to tor's user. As anybody else: opened to a common group, or to all.
        assert status.st_uid == NOBODY or status.st_mode & 0o060 == 0o060 or status.st_mode & 0o006 == 0o006
        assert os.geteuid() != 0 or (status.st_uid, status.st_mode & 0o777) == (NOBODY, 0o600)
    finally:
        shutil.rmtree(open_directory)


def test_a_socket_that_tor_cannot_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    socket = closed / "socket"
    socket.touch(0o600)
    with pytest.raises(SettingsError, match="cannot enter"):
        let_tor_in(socket, NOBODY)


def test_where_the_socket_is(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path)
    assert settings.choose_socket(os.geteuid()).parent == tmp_path
    assert ServerSettings(tmp_path, socket=tmp_path / "x").choose_socket(NOBODY) == tmp_path / "x"
