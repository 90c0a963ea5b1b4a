"""The life of a server on a Debian 12 of its own, with real systemd, from installation to purge.

Each test goes on where the one before has left the machine.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from command_line import environment, no_surprise, onion_rdv
from request_stream import asking
from talk_process import TalkProcess

from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.errors import ServerUnreachable
from onion_rdv.protocol import Invite, bucket_link
from onion_rdv.protocol.bucket import ENTRY_SIZE, BucketId, entries
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from machine import Machine

    from onion_rdv.tor.testnet import Network

pytest_plugins = ("deployment",)

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.invalid"
SERVICE = "onion-rdv.service"
SOCKET = "onion-rdv.socket"
KEY = "/var/lib/onion-rdv/server/onion-service.key"
MESSAGING = "onion-rdv-messaging.service"
TOR_ADDITIONS = "/etc/apparmor.d/local/system_tor"
SETTINGS = "/etc/onion-rdv/server.toml"


@dataclass
class Story:
    """What later tests need of earlier ones: how clients name the server, and what was left there."""

    server: str = ""
    offered: list[Any] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    async def offer(self) -> None:
        """Leave the link from outside, as a person does who has patience with a tor that was restarted."""
        words = ("offer", "-", "--server", self.server, "--json", "--timeout", "110")
        result = await onion_rdv(*words, env=self.env, stdin=LINK)
        assert result.code == 0, result.stderr
        self.offered.append(result.json)

    async def accept_all(self) -> None:
        """Get the link from every invite so far."""
        for offered in self.offered:
            words = ["accept", offered["invite"], "--json", "--passphrase-file", "-", "--no-probe"]
            words += ["--timeout", "110"]
            result = await onion_rdv(*words, env=self.env, stdin=offered["passphrase"])
            assert result.code == 0, result.stderr
            assert result.json["link"] == LINK


@pytest.fixture(scope="module")
def story(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(env=environment(tmp_path_factory.mktemp("home"), **network.environment()))


@pytest.fixture(scope="module")
def package(builds: tuple[Future[Path], Future[Path]]) -> Path:
    return builds[0].result()


def test_installation_brings_everything(machine: Machine, package: Path) -> None:
    machine.install(package)
    assert "onion-rdv" in machine.run("id", "onion-rdv")
    assert machine.run("stat", "--format=%a %U %G", SETTINGS) == "640 root onion-rdv\n"
    assert machine.run("dpkg", "--verify", "onion-rdv") == ""
    assert machine.run("onion-rdv", "--version").startswith("onion-rdv ")
    machine.run("onion-rdv", "serve", "--check-config")
    assert "<abstractions/onion-rdv>" in machine.path(TOR_ADDITIONS).read_text()
    completing = ("_ONION_RDV_COMPLETE=bash_complete", "COMP_WORDS=onion-rdv auth", "COMP_CWORD=1")
    assert machine.run("env", *completing, "onion-rdv") == "plain,auth\nplain,authorize\n"
    for path in (
        "man/man1/onion-rdv.1.gz",
        "man/man5/onion-rdv-server.toml.5.gz",
        "bash-completion/completions/onion-rdv",
        "zsh/vendor-completions/_onion-rdv",
        "fish/vendor_completions.d/onion-rdv.fish",
        "doc/onion-rdv/copyright",
        "doc/onion-rdv/onion-rdv.cdx.json",
    ):
        machine.run("test", "-s", f"/usr/share/{path}")
    for unit in (SOCKET, SERVICE, "onion-rdv-messaging.socket", MESSAGING):
        assert machine.show(unit, "LoadState") == "loaded", unit
        assert machine.show(unit, "ActiveState") == "inactive", unit
        assert machine.run("systemctl", "is-enabled", unit, code=1) == "disabled\n", unit
        for page in re.findall(r"file://(\S+)", machine.show(unit, "Documentation")):
            machine.run("test", "-s", page)


async def test_enabled_it_serves(machine: Machine, story: Story, network: Network) -> None:
    machine.join(network.torrc.read_text())
    machine.run("systemctl", "enable", "--now", "onion-rdv")
    story.server = machine.status()["server"]
    assert machine.status()["state"] == "published", "a unit that has started is published"
    await story.offer()
    await story.accept_all()


async def test_killed_under_load_it_loses_nothing(machine: Machine, story: Story, network: Network) -> None:
    server = RendezvousServer.parse(story.server)
    client = RendezvousClient(SocksPort.parse(network.client_socks), server, timeout=60)
    acknowledged: list[tuple[BucketId, bytes]] = []
    killed = asyncio.Event()

    async def keep_storing() -> None:
        sent: list[bytes] = []

        async def seal() -> bytes:
            sent.append(secrets.token_bytes(ENTRY_SIZE))
            return sent[-1]

        for _ in repeat_until(killed, and_then=2):
            with suppress(ServerUnreachable):  # then nothing was acknowledged
                bucket_id, _ = await client.store(seal)
                acknowledged.append((bucket_id, sent[-1]))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(keep_storing())
        while len(acknowledged) < 16:
            await asyncio.sleep(0.05)
        pid = machine.show(SERVICE, "MainPID")
        machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
        killed.set()
        await machine.restarted(SERVICE, pid)
    assert machine.status()["server"] == story.server
    assert machine.left_with_tor() == [story.server.removesuffix(".onion")], "tor served it throughout"
    for bucket_id in {bucket_id for bucket_id, _ in acknowledged}:
        kept = entries(await client.fetch(bucket_link(bucket_id, server.onion_key)))
        assert {entry for of, entry in acknowledged if of == bucket_id} <= set(kept)
    await story.accept_all()


def repeat_until(event: asyncio.Event, *, and_then: int) -> Iterator[None]:
    """Go on until something has happened, and so many times more."""
    while not event.is_set():
        yield
    for _ in range(and_then):
        yield


async def test_tor_restarts(machine: Machine, story: Story) -> None:
    machine.run("systemctl", "restart", "tor@default")
    assert await machine.published() == story.server
    await story.offer()
    await story.accept_all()


async def test_no_request_fails_while_it_restarts(machine: Machine, story: Story, network: Network) -> None:
    invite = Invite.parse(story.offered[0]["invite"])
    host, port = network.client_socks.split(":")
    async with asking((host, int(port)), story.server, invite.bucket_link) as stream:
        for _ in range(2):
            pid = machine.show(SERVICE, "MainPID")
            await asyncio.to_thread(machine.run, "systemctl", "restart", SERVICE)
            assert machine.show(SERVICE, "MainPID") != pid
            await stream.goes_on()
    assert stream.failures == []


async def test_reboot(machine: Machine, story: Story) -> None:
    machine.container.reboot()
    assert await machine.published() == story.server
    await story.offer()
    await story.accept_all()


async def test_a_backup_makes_a_lost_server_again(machine: Machine, story: Story) -> None:
    machine.path("/root/passphrase").write_text("six words that nobody else knows")
    words = ("/root/backup", "--passphrase-file", "/root/passphrase")
    machine.run("onion-rdv", "backup", *words)
    machine.run("systemctl", "stop", SOCKET, SERVICE)
    machine.run("rm", "-r", "/var/lib/onion-rdv/server")
    machine.run("onion-rdv", "restore", *words)
    machine.run("systemctl", "start", SOCKET, SERVICE)
    assert machine.status()["server"] == story.server
    await story.accept_all()


async def test_the_onion_key_can_be_a_credential(machine: Machine, story: Story) -> None:
    machine.run("mkdir", "-p", "-m", "0700", "/etc/credstore.encrypted")
    kept = "/etc/credstore.encrypted/onion-rdv.onion-service.key"
    machine.run("systemd-creds", "encrypt", "--name=onion-service.key", KEY, kept)
    machine.run("rm", KEY)
    machine.run("systemctl", "restart", SERVICE)
    assert machine.status()["server"] == story.server
    machine.run("test", "!", "-e", KEY)
    await story.accept_all()
    # The story goes on with a key of the usual kind.
    machine.run("systemd-creds", "decrypt", "--name=onion-service.key", kept, KEY)
    machine.run("chown", "onion-rdv:onion-rdv", KEY)
    machine.run("chmod", "0600", KEY)
    machine.run("rm", kept)
    machine.run("systemctl", "restart", SERVICE)


async def test_private_and_public_again(machine: Machine, story: Story) -> None:
    line = machine.run("onion-rdv", "authorize", "alice")
    machine.run("systemctl", "restart", SERVICE)
    outside = await onion_rdv("offer", "-", "--server", story.server, env=story.env, stdin=LINK)
    assert (outside.code, outside.stdout) == (4, "")
    assert "onion-rdv auth add" in outside.stderr
    assert (await onion_rdv("auth", "add", "-", env=story.env, stdin=line)).code == 0
    await story.offer()
    machine.run("onion-rdv", "authorize", "--remove", "alice", "--make-public")
    assert (await onion_rdv("auth", "remove", story.server, env=story.env)).code == 0
    await story.accept_all()


async def test_a_talk_over_both_servers(machine: Machine, story: Story) -> None:
    machine.run("systemctl", "enable", "--now", "onion-rdv-messaging")
    [messaging] = [line for line in machine.journal(MESSAGING).splitlines() if line.startswith("smp://")]
    env = story.env | {"ONION_RDV_SERVER": story.server, "ONION_RDV_MESSAGING_SERVER": messaging}
    async with TalkProcess.running("--one-channel", env=env) as one:
        invited = await one.hears_of("invite")
        async with TalkProcess.running(invited["invite"], env=env) as other:
            one.order(say="over systemd")
            await other.hears_of("said")
            assert other.heard == ["over systemd"]
            one.order(quit=True)
            assert (await one.end(), await other.end()) == (0, 0)


async def test_an_upgrade_keeps_settings_and_fails_no_request(
    machine: Machine, story: Story, network: Network, newer_package: Path
) -> None:
    with machine.path(SETTINGS).open("a") as file:
        file.write("# an operator was here\n")
    invite = Invite.parse(story.offered[0]["invite"])
    host, port = network.client_socks.split(":")
    pid = machine.show(SERVICE, "MainPID")
    async with asking((host, int(port)), story.server, invite.bucket_link) as stream:
        await asyncio.to_thread(machine.install, newer_package)
        await stream.goes_on()
    assert stream.failures == []
    assert machine.run("dpkg-query", "--show", "--showformat=${Version}", "onion-rdv").endswith("+newer")
    assert machine.show(SERVICE, "MainPID") != pid, "what runs is what is installed"
    assert machine.run("stat", "--format=%a %U %G", SETTINGS) == "640 root onion-rdv\n"
    assert "an operator was here" in machine.path(SETTINGS).read_text()
    await story.accept_all()


async def test_removed_and_installed_again_it_is_the_same_server(
    machine: Machine, story: Story, package: Path
) -> None:
    machine.apt("remove", "onion-rdv")
    machine.run("test", "!", "-e", "/usr/lib/onion-rdv")
    machine.run("test", "-s", KEY)
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    assert machine.left_with_tor() == []
    machine.install(package)
    machine.run("systemctl", "start", SOCKET, SERVICE)
    assert machine.status()["server"] == story.server
    await story.accept_all()


def test_the_journal_tells_nothing_of_links(machine: Machine, story: Story) -> None:
    journal = machine.run("journalctl", "--no-pager")
    assert no_surprise(journal)
    for offered in story.offered:
        assert offered["passphrase"] not in journal
        assert offered["invite"].rpartition("/")[2] not in journal
    assert LINK not in journal


def test_purged_it_is_gone(machine: Machine) -> None:
    for server in ("onion-rdv", "onion-rdv-messaging"):
        machine.run("touch", f"/etc/credstore.encrypted/{server}.onion-service.key")
    machine.apt("purge", "onion-rdv")
    assert "onion-rdv" not in machine.path(TOR_ADDITIONS).read_text()
    left = machine.run("find", "/", "-xdev", "-name", "*onion-rdv*", "-not", "-path", "/root/*")
    assert left == ""
    machine.run("getent", "passwd", "onion-rdv", code=2)
    machine.run("getent", "group", "onion-rdv", code=2)
    assert machine.run("systemctl", "list-unit-files", "onion-rdv*", "--no-legend", code=None) == ""
    assert machine.run("systemctl", "list-units", "--failed", "--no-legend") == ""


def test_the_same_commit_gives_the_same_bytes(builds: tuple[Future[Path], Future[Path]]) -> None:
    here, elsewhere = (build.result() for build in builds)
    assert here.name == elsewhere.name
    assert here.read_bytes() == elsewhere.read_bytes()
