"""A server that systemd starts and stops, with a real tor that has no network, and what gets in its way."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, environment, onion_rdv
from offline_tor import COOKIE, OfflineTor, offline_tor
from service_manager import Listening, Manager

from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.tor.control import connect
from onion_rdv.tor.onion_service import EphemeralService, ServiceSettings
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import ServiceKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 60


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    with offline_tor(tmp_path / "tor", COOKIE) as running:
        yield running


@pytest.fixture
def env(tor: OfflineTor, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, ONION_RDV_CONTROL=tor.control)


@contextmanager
def started(env: dict[str, str], tmp_path: Path, listening: Listening | None = None) -> Iterator[None]:
    """Run a server while the block runs, from when tor knows its onion service; it stops cleanly after."""
    wrapper, passed = (listening.wrapper, listening.passed) if listening else ((), ())
    with Manager(tmp_path / "notify") as manager:
        command = [*wrapper, *COMMAND, "serve"]
        variables = env | {"NOTIFY_SOCKET": manager.address}
        with subprocess.Popen(command, env=variables, pass_fds=passed, stderr=subprocess.DEVNULL) as process:
            try:
                while "asking relays" not in (said := manager.hear()) and not said.startswith("STATUS=0 % tor"):
                    pass
                yield
                process.terminate()
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()
    (tmp_path / "notify").unlink()


async def services(tor: OfflineTor, which: str) -> list[str]:
    """Ask tor for the services that a connection has (``current``) or that are on their own (``detached``)."""
    async with await connect(tor.control) as control:
        return (await control.info(f"onions/{which}")).split()


async def some_service(tor: OfflineTor) -> list[str]:
    """Wait until tor has a service on its own."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await services(tor, "detached")):
            await asyncio.sleep(0.05)
    return found


async def test_the_onion_service_outlasts_a_server_whose_socket_is_kept(
    tor: OfflineTor, env: dict[str, str], tmp_path: Path
) -> None:
    with Listening(tmp_path / "socket") as listening:
        with started(env, tmp_path, listening):
            published = await some_service(tor)
            refused = await onion_rdv("withdraw", env=env)
            assert refused.code == 9
            assert "another server is running on" in refused.stderr
        assert (tmp_path / "socket").is_socket(), "it is systemd's, which still listens"
        assert await services(tor, "detached") == published
        with started(env, tmp_path, listening):
            assert await some_service(tor) == published
    assert (await onion_rdv("withdraw", env=env)).code == 0
    assert await services(tor, "detached") == []
    again = await onion_rdv("withdraw", env=env)
    assert (again.code, again.stderr) == (0, "no onion service was left with tor\n")


@pytest.mark.parametrize(("words", "server"), [("withdraw", "server"), ("messaging withdraw", "messaging")])
@pytest.mark.parametrize(
    "mistake",
    [
        "[serve]\nwindw = 5\n",
        '[serve]\nport = "80"\n[messaging]\nport = 0\n',
        "[messaging]\nlifetme = 5\n",
        "[messaging]\npassword_file = 5\n",
        '[serve]\nlisten = "\n',
        "  [serve\n",
        "tmeout = 5\n[serve] # f\xfcr\n",
    ],
)
async def test_a_service_is_taken_back_whatever_is_wrong_in_the_settings_of_the_servers(
    tor: OfflineTor, tmp_path: Path, words: str, server: str, mistake: str
) -> None:
    way = EphemeralService(ServiceSettings(tmp_path / "socket"), tmp_path / server / KEY_FILE, detach=True)
    (tmp_path / server).mkdir()
    async with await connect(tor.control) as control:
        await way.provide(control)
    settings = tmp_path / "server.toml"
    settings.write_bytes(f'state_dir = "{tmp_path}"\ncontrol = "{tor.control}"\n{mistake}'.encode("latin-1"))
    env = environment(tmp_path, ONION_RDV_CONFIG=str(settings))
    assert (await onion_rdv("serve", "--check-config", env=env)).code == 2
    taken_back = await onion_rdv(*words.split(), env=env)
    assert (taken_back.code, taken_back.stderr) == (0, "the onion service was taken back\n")
    assert await services(tor, "detached") == []


async def test_what_it_needs_to_take_a_service_back_has_to_be_right(tmp_path: Path) -> None:
    settings = tmp_path / "server.toml"
    env = environment(tmp_path, ONION_RDV_CONFIG=str(settings))
    for wrong in ("control = 5\n", 'control = "\n', "state_dir = []\n[serve]\n"):
        settings.write_text(f"\n{wrong}")
        refused = await onion_rdv("withdraw", env=env)
        assert refused.code == 2
        assert f"{settings}, line 2" in refused.stderr


@pytest.mark.parametrize("words", ["withdraw", "messaging withdraw", "authorize --list", "authorize ann", "status"])
async def test_a_state_directory_that_cannot_be_looked_at_is_said(tmp_path: Path, words: str) -> None:
    impossible = tmp_path / ("long" * 100)
    refused = await onion_rdv(*words.split(), "--state-dir", str(impossible), env=environment(tmp_path))
    assert refused.code in {2, 4}, refused.stderr
    assert str(impossible) in refused.stderr


async def test_without_such_a_socket_it_ends_with_the_server(
    tor: OfflineTor, env: dict[str, str], tmp_path: Path
) -> None:
    with started(env, tmp_path):
        assert await services(tor, "detached") == []
    assert (await onion_rdv("withdraw", env=env)).stderr == "no onion service was left with tor\n"


async def test_the_key_comes_from_a_credential(tor: OfflineTor, env: dict[str, str], tmp_path: Path) -> None:
    key = ServiceKey.generate()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / KEY_FILE).write_text(key.encode())
    (credentials / KEY_FILE).chmod(0o440)  # systemd lets the service in through an access control list
    env["CREDENTIALS_DIRECTORY"] = str(credentials)
    with Listening(tmp_path / "socket") as listening, started(env, tmp_path, listening):
        assert await some_service(tor) == [key.address.removesuffix(".onion")]
    assert not (tmp_path / ".local/state/onion-rdv/server" / KEY_FILE).exists()
    refused = await onion_rdv("serve", "--onion-service-dir", str(tmp_path / "tors"), env=env)
    assert refused.code == 2
    assert "the service manager has an onion key for this server, and tor keeps another" in refused.stderr
    (credentials / KEY_FILE).write_text("no key")
    refused = await onion_rdv("serve", env=env)
    assert refused.code == 2
    assert "the credential is damaged" in refused.stderr


async def test_a_socket_of_ones_own_is_not_used_then(tmp_path: Path) -> None:
    env = environment(tmp_path, ONION_RDV_LISTEN=str(tmp_path / "elsewhere"), ONION_RDV_CONTROL="127.0.0.1:1")
    with Listening(tmp_path / "socket") as listening:
        command = [*listening.wrapper, *COMMAND, "serve"]
        done = subprocess.run(
            command, env=env, pass_fds=listening.passed, capture_output=True, text=True, check=False
        )
    assert f"warning: listen is not used: systemd has made the socket {tmp_path}/socket" in done.stderr


# What gets in its way


async def test_two_servers_on_one_state_directory(tor: OfflineTor, env: dict[str, str], tmp_path: Path) -> None:
    with started(env, tmp_path):
        second = await onion_rdv("serve", "--listen", str(tmp_path / "another"), env=env)
    assert (second.code, second.stdout) == (9, "")
    assert f"another server is running on {tmp_path}/.local/state/onion-rdv/server" in second.stderr
    assert "hint: stop it first, or give this one a state directory of its own" in second.stderr


async def test_another_server_listens_there(tor: OfflineTor, env: dict[str, str], tmp_path: Path) -> None:
    with Listening(tmp_path / "taken"):
        second = await onion_rdv("serve", "--listen", str(tmp_path / "taken"), env=env)
    assert second.code == 2
    assert f"another server listens on {tmp_path}/taken" in second.stderr
    assert "hint: stop it first, or name another path" in second.stderr


async def test_tor_has_a_service_with_this_key(tor: OfflineTor, env: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / ".local/state/onion-rdv/server"
    directory.mkdir(mode=0o700, parents=True)
    key = ServiceKey.generate()
    (directory / KEY_FILE).write_text(key.encode())
    (directory / KEY_FILE).chmod(0o600)
    async with await connect(tor.control) as somebody_else:
        await somebody_else.ask(f"ADD_ONION {key.blob} Flags=DiscardPK Port=80")
        second = await onion_rdv("serve", env=env)
    assert second.code == 3
    assert "this tor has an onion service with the same key" in second.stderr
    assert f"hint: end the other program that uses the key {directory}/{KEY_FILE}" in second.stderr
    assert (directory / STORE_FILE).exists(), "it came as far as that"


async def test_tors_cookie_cannot_be_read(tor: OfflineTor, env: dict[str, str]) -> None:
    tor.cookie.rename(tor.cookie.with_name("elsewhere"))
    refused = await onion_rdv("serve", env=env)
    assert refused.code == 3
    assert f"{tor.cookie} does not exist" in refused.stderr
    assert "hint: look whether tor runs in a container" in refused.stderr
