"""What a service and the manager that started it tell each other: state, sockets, credentials, priorities."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, environment, onion_rdv
from offline_tor import COOKIE, offline_tor
from service_manager import Listening, Manager

from onion_rdv.cli.service_run import _Life
from onion_rdv.cli.terminal import ProgressBar
from onion_rdv.errors import RdvError, ServerUnreachable, SettingsError
from onion_rdv.systemd.credentials import credential
from onion_rdv.systemd.notify import ServiceManager
from onion_rdv.tor.onion_service.hosting import Ready

if TYPE_CHECKING:
    from pathlib import Path


# The state


@pytest.mark.parametrize("abstract", [False, True])
def test_what_the_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    with Manager(tmp_path / "notify", abstract=abstract) as manager:
        variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}
        told = ServiceManager.from_environment(variables)
        assert variables == {}, "what a child could find, it could speak for us with"
        assert told.watchdog == 1.5
        told.status("as\nit is")
        told.extend_timeout(0.5)
        told.ready()
        told.feed_watchdog()
        told.stopping()
        assert [manager.hear() for _ in range(5)] == [
            "STATUS=as it is",
            "EXTEND_TIMEOUT_USEC=500000",
            "READY=1",
            "WATCHDOG=1",
            "STOPPING=1",
        ]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_nobody_watches(variables: dict[str, str]) -> None:
    assert ServiceManager.from_environment(variables).watchdog is None


def test_nobody_to_tell_is_no_trouble(tmp_path: Path) -> None:
    ServiceManager(None).ready()
    ServiceManager(str(tmp_path / "gone")).ready()


async def test_the_watchdog_is_fed_only_when_the_server_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[RdvError | None] = [ServerUnreachable("nothing"), None, None]
    fed_after: list[int] = []

    async def check(_ready: Ready, _timeout: float) -> None:
        answer = answers.pop(0) if answers else await asyncio.Event().wait()
        if isinstance(answer, RdvError):
            raise answer

    class Watched(ServiceManager):
        def feed_watchdog(self) -> None:
            fed_after.append(len(answers))
            super().feed_watchdog()

    with Manager(tmp_path / "notify") as manager:
        life = _Life(Watched(manager.address, 0.3), ProgressBar("tor"), check, str, as_json=False)
        ready = Ready("server", tmp_path, "address", 80, proof_of_work=True, warnings=())
        watching = asyncio.create_task(life._show_health(ready))
        said = ""
        async with asyncio.timeout(20):
            while "has not answered itself" not in said:
                await asyncio.sleep(0.05)
                said += capsys.readouterr().err
        watching.cancel()
        assert [manager.hear(), manager.hear()] == ["WATCHDOG=1", "WATCHDOG=1"]
    assert fed_after == [1, 0], "not after the first look, nor after the last"
    assert said.startswith("onion-rdv: warning: this server is not well: the rendezvous server cannot be reached")


# The socket


def taken_over(listening: Listening, *environment_more: tuple[str, str]) -> str:
    """Have a process say what it takes over, or the error."""
    program = """
import os
from onion_rdv.cli.service_run import _Life
from onion_rdv.cli.terminal import ProgressBar
from onion_rdv.errors import RdvError, ServerUnreachable, SettingsError
from onion_rdv.systemd.sockets import inherited_listener
try:
    found = inherited_listener(os.environ)
except SettingsError as error:
    print(error.message)
else:
    print(found and (found.getsockname(), found.get_inheritable()))
    print([name for name in os.environ if name.startswith("LISTEN_")])
"""
    env = dict(os.environ) | dict(environment_more)
    command = [*listening.wrapper, sys.executable, "-c", program]
    done = subprocess.run(command, env=env, pass_fds=listening.passed, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_listener_is_taken_over_once(tmp_path: Path) -> None:
    with Listening(tmp_path / "socket") as listening:
        assert taken_over(listening) == f"('{tmp_path}/socket', False)\n[]"


def test_a_listener_for_somebody_else_is_left_alone(tmp_path: Path) -> None:
    with Listening(tmp_path / "socket", pid="1") as listening:
        assert taken_over(listening) == "None\n[]"


def test_several_sockets_are_refused(tmp_path: Path) -> None:
    with Listening(tmp_path / "socket", count=2) as listening:
        assert "2 sockets in place of one" in taken_over(listening)


@pytest.mark.parametrize("kind", ["file", "datagram", "inet", "abstract", "silent"])
def test_another_kind_of_socket_is_refused(tmp_path: Path, kind: str) -> None:
    with Listening(tmp_path / "socket", kind=kind) as listening:
        assert "the service manager passes" in taken_over(listening)


# Credentials


def test_a_credential_is_read_where_there_is_one(tmp_path: Path) -> None:
    assert credential("key", {}) is None
    assert credential("key", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    (tmp_path / "key").write_bytes(b"secret")
    assert credential("key", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == b"secret"
    (tmp_path / "directory").mkdir()
    with pytest.raises(SettingsError, match="the credential directory cannot be read"):
        credential("directory", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


# The journal


async def test_lines_to_a_journal_have_their_priority(tmp_path: Path) -> None:
    env = environment(tmp_path, ONION_RDV_CONTROL="127.0.0.1:1")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        status = os.fstat(theirs.fileno())
        env["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
        subprocess.run([*COMMAND, "serve"], env=env, stderr=theirs.fileno(), check=False, timeout=60)
        theirs.close()
        said = ours.makefile().read().splitlines()
    assert [line[:14] for line in said] == ["<3>onion-rdv: ", "<3>hint: insta"]
    elsewhere = await onion_rdv("serve", env=env)
    assert elsewhere.stderr.startswith("onion-rdv: "), "what does not go to the journal has no priorities"


# All of it, as far as a server comes without a network


async def test_a_server_without_a_network_asks_for_time(tmp_path: Path) -> None:
    with offline_tor(tmp_path / "tor", COOKIE) as tor, Manager(tmp_path / "notify") as manager:
        env = environment(tmp_path, ONION_RDV_CONTROL=tor.control, NOTIFY_SOCKET=manager.address)
        with subprocess.Popen([*COMMAND, "serve"], env=env, stderr=subprocess.PIPE) as process:
            try:
                assert manager.hear() == "EXTEND_TIMEOUT_USEC=60000000"
                assert manager.hear() == "STATUS=onion service: publishing"
                assert manager.hear().startswith("STATUS=0 % tor: ")
                process.terminate()
                assert manager.hear() == "STOPPING=1"
                assert process.wait(60) == 0
            finally:
                process.kill()


@pytest.mark.parametrize("comes", [True, False])
async def test_a_tor_that_is_still_starting_is_waited_for(tmp_path: Path, comes: bool) -> None:
    control = f"unix:{tmp_path}/tor/data/control"
    with Manager(tmp_path / "notify") as manager:
        env = environment(tmp_path, ONION_RDV_CONTROL=control, NOTIFY_SOCKET=manager.address)
        with subprocess.Popen([*COMMAND, "serve"], env=env, stderr=subprocess.PIPE) as process:
            try:
                while not manager.hear().startswith(
                    f"STATUS=waiting for tor: no Tor was found: no control port at {control}"
                ):
                    pass
                if comes:
                    with offline_tor(tmp_path / "tor", COOKIE, port=control):
                        manager.hear_until("STATUS=onion service: publishing")
                        process.terminate()
                        assert process.wait(60) == 0
                else:
                    process.terminate()
                    assert process.wait(60) == 0
            finally:
                process.kill()
