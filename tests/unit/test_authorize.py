"""Whom a rendezvous server lets in: the list, the running server that is told, and the command."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from command_line import environment, onion_rdv
from fakes import OlderTor
from offline_tor import COOKIE, OfflineTor, offline_tor

from onion_rdv.cli import authorize as authorizing
from onion_rdv.cli.main import main
from onion_rdv.errors import SettingsError, UsageError
from onion_rdv.rendezvous.admin.client import AdminClient
from onion_rdv.rendezvous.admin.clients import CLIENTS_PATH, Clients
from onion_rdv.rendezvous.admin.face import AdminFace
from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.rendezvous.settings import ServerSettings
from onion_rdv.tor.client_authorization import MAX_CLIENTS, Credential
from onion_rdv.tor.control import connect
from onion_rdv.tor.onion_service import (
    DirectoryService,
    EphemeralService,
    OnionService,
    ServiceSettings,
    Way,
    state_directory,
)
from onion_rdv.tor.onion_service.client_list import CLIENTS_FILE, ClientList
from onion_rdv.tor.onion_service.detached import NOTE_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import load_or_create

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = f"{'a' * 56}.onion"
ONE, TWO, THREE = (Credential.generate(ADDRESS).public_key for _ in range(3))


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    with offline_tor(tmp_path / "tor", COOKIE) as running:
        yield running


# The list


def test_the_list_is_kept(tmp_path: Path) -> None:
    listed = ClientList(tmp_path / CLIENTS_FILE)
    assert listed.read() == {}
    listed.write(listed.with_client("alice", f"descriptor:x25519:{ONE.lower()}"))
    listed.write(listed.with_client("B.o-b_2", TWO))
    assert listed.path.read_text() == f"alice {ONE}\nB.o-b_2 {TWO}\n"
    assert stat.S_IMODE(listed.path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="there is a client alice already"):
        listed.with_client("alice", THREE)
    listed.write(listed.without_client("alice"))
    assert listed.read() == {"B.o-b_2": TWO}
    with pytest.raises(UsageError, match="there is no client alice") as caught:
        listed.without_client("alice")
    assert "B.o-b_2" in caught.value.hint
    assert ServerSettings(tmp_path, authorized_clients=(ONE,)).way(tmp_path / "x").clients == (ONE, TWO)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "-a", "../a", "é", "a" * 65])
def test_what_is_no_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a client's name"):
        ClientList(tmp_path / CLIENTS_FILE).with_client(name, ONE)


def test_a_list_that_is_full(tmp_path: Path) -> None:
    listed = ClientList(tmp_path / CLIENTS_FILE)
    listed.write({f"client{number}": ONE for number in range(MAX_CLIENTS)})
    assert len(listed.read()) == MAX_CLIENTS
    with pytest.raises(UsageError, match="256 clients already"):
        listed.with_client("one-more", ONE)


async def test_those_of_the_settings_count_too(tmp_path: Path) -> None:
    keys = tuple(Credential.generate(ADDRESS).public_key for _ in range(MAX_CLIENTS + 1))
    ServerSettings(tmp_path, authorized_clients=keys[1:]).check()
    with pytest.raises(SettingsError, match="257 clients are authorized, and an onion service can have 256"):
        ServerSettings(tmp_path, authorized_clients=keys).check()
    listed = ClientList(tmp_path / CLIENTS_FILE)
    clients = Clients(ADDRESS, None, listed, keys[2:])
    await clients.add("alice", keys[0])
    with pytest.raises(UsageError, match="256 clients already"):
        await clients.add("bob", keys[1])
    assert listed.read() == {"alice": keys[0]}
    ServerSettings(tmp_path, authorized_clients=keys[2:]).check()
    with pytest.raises(SettingsError, match="257 clients"):
        ServerSettings(tmp_path, authorized_clients=keys[1:]).check()


@pytest.mark.parametrize(
    "text",
    ["alice", f"alice {ONE[:-1]}", f"a/b {ONE}", f"\n{ONE}", "alice \xff", f"{ONE}\n\n"],
    ids=["no key", "short key", "bad name", "no name", "not ASCII", "key alone"],
)
def test_a_list_that_is_damaged_lets_nobody_start(text: str, tmp_path: Path) -> None:
    (tmp_path / CLIENTS_FILE).write_bytes(text.encode("latin-1"))
    (tmp_path / CLIENTS_FILE).chmod(0o600)
    with pytest.raises(SettingsError, match=CLIENTS_FILE):
        ServerSettings(tmp_path).check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_belongs_to_the_servers_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    listed = ClientList(tmp_path / CLIENTS_FILE)
    listed.write({"alice": ONE})
    load_or_create(tmp_path / "key")
    assert {file.stat().st_uid for file in tmp_path.iterdir()} == {65534}
    assert listed.read() == {"alice": ONE}
    load_or_create(tmp_path / "key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_root_authorizes_before_the_servers_user_has_started_it(tmp_path: Path) -> None:
    """As where its package, or another server of the same user, has made /var/lib/onion-rdv."""
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65533)
    await authorize(environment(tmp_path), "alice", "--state-dir", str(home / "made" / "too"))
    made = [home / "made", *(home / "made").rglob("*")]
    assert {file.name for file in made} == {"made", "too", "server", "onion-service.key", CLIENTS_FILE}
    assert {file.stat().st_uid for file in made} == {65534}
    assert {file.stat().st_gid for file in made if file.is_dir()} == {65533}
    assert stat.S_IMODE((home / "made" / "too" / "server").stat().st_mode) == 0o700


# The running server


def way_of(kind: str, directory: Path) -> Way:
    settings = ServiceSettings(directory / "web")
    if kind == "directory":
        return DirectoryService(settings, directory / "onion")
    return EphemeralService(settings, directory / "key")


async def test_the_running_server_is_told(tmp_path: Path, tor: OfflineTor) -> None:
    """Its tor has no network: nothing is published, but what it was told stands."""
    way = way_of("ephemeral", tmp_path)
    onion = OnionService(way, lambda: connect(tor.control), timeout=0.5)
    listed = ClientList(tmp_path / CLIENTS_FILE)
    face = AdminFace(Clients(ADDRESS, onion, listed, (THREE,)).routes())
    await face.start(tmp_path / "admin", 0o600)
    try:
        client = AdminClient(tmp_path / "admin")
        nobody = {"address": ADDRESS, "clients": [], "configured": 1, "published": False}
        assert await client.ask("GET", CLIENTS_PATH) == nobody
        said = await client.ask("POST", CLIENTS_PATH, {"name": "alice", "key": ONE})
        assert said == {**nobody, "clients": [{"name": "alice", "key": ONE}]}
        assert way.clients == (THREE, ONE)
        await asyncio.gather(
            *(client.ask("POST", CLIENTS_PATH, {"name": f"c{number}", "key": TWO}) for number in range(5))
        )
        assert len(listed.read()) == 6
        refused: tuple[object, ...] = (
            {"name": "alice", "key": TWO},
            {"name": "bob", "key": "x"},
            {"name": 1, "key": TWO},
            {},
            [],
        )
        for wrong in refused:
            with pytest.raises(UsageError):
                await client.ask("POST", CLIENTS_PATH, wrong)
        with pytest.raises(UsageError, match="there is no client bob"):
            await client.ask("DELETE", CLIENTS_PATH, {"name": "bob"})
        assert len(listed.read()) == 6
        await client.ask("DELETE", CLIENTS_PATH, {"name": "alice"})
        assert way.clients == (THREE, TWO)
    finally:
        await face.stop()


@pytest.mark.parametrize("make_public", [False, True])
async def test_two_who_remove_at_once_make_no_server_public_unasked(tmp_path: Path, make_public: bool) -> None:
    listed = ClientList(tmp_path / CLIENTS_FILE)
    listed.write({"alice": ONE, "bob": TWO})
    face = AdminFace(Clients(ADDRESS, None, listed, ()).routes())
    await face.start(tmp_path / "admin", 0o600)
    try:
        client = AdminClient(tmp_path / "admin")
        more = {"make_public": True} if make_public else {}
        removals = [client.ask("DELETE", CLIENTS_PATH, {"name": name, **more}) for name in ("alice", "bob")]
        said = await asyncio.gather(*removals, return_exceptions=True)
    finally:
        await face.stop()
    refused = [one for one in said if isinstance(one, UsageError)]
    assert [one.hint.rpartition(" ")[2] for one in refused] == ([] if make_public else ["--make-public"])
    assert len(listed.read()) == len(refused)


async def test_what_tor_cannot_be_told_is_not_kept(tmp_path: Path, tor: OfflineTor) -> None:
    """Whoever asks is told, and all stays as it was."""
    way = way_of("directory", tmp_path)
    altered: dict[bytes, bytes] = {}
    before = OlderTor(tor.control, altered=altered)
    onion = OnionService(way, lambda: connect(before.address), timeout=20)
    async with before.serving(), await connect(before.address) as control:
        await way.provide(control)
        onion._control = control
        altered[f"process/uid={os.geteuid()}".encode()] = b"process/uid=4242"
        clients = Clients(ADDRESS, onion, ClientList(tmp_path / CLIENTS_FILE), ())
        with pytest.raises(SettingsError, match="does not belong to the user that tor runs as"):
            await clients.add("alice", ONE)
        assert (await clients.list())["clients"] == []
        assert way.clients == ()
        assert await way.is_provided(control)


# The command, where no server runs


async def authorize(env: dict[str, str], *words: str) -> Any:
    result = await onion_rdv("authorize", *words, env=env)
    assert result.code == 0, result.stderr
    return result


async def test_authorizing_before_the_first_start(tmp_path: Path) -> None:
    env = environment(tmp_path)
    alice = await authorize(env, "alice", "--json")
    credential = Credential.parse(alice.json["credential"])
    directory = tmp_path / ".local" / "state" / "onion-rdv" / "server"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (
        alice.json["address"]
        == f"{credential.service}.onion"
        == load_or_create(directory / "onion-service.key").address
    )
    assert ClientList(directory / CLIENTS_FILE).read() == {"alice": credential.public_key}
    assert "PRIVATE NOW" in alice.stderr
    assert "next start" in alice.stderr

    bob = await authorize(env, "bob")
    assert "PRIVATE NOW" not in bob.stderr
    assert Credential.parse(bob.stdout).service == credential.service
    listed = await authorize(env, "--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["alice", "bob"]
    assert "2 may come" in listed.stderr
    assert "bob is removed" in (await authorize(env, "--remove", "bob")).stderr
    last = await onion_rdv("authorize", "--remove", "alice", env=env)
    assert (last.code, last.stdout) == (2, "")
    assert "alice is the last client" in last.stderr
    configured = {**env, "ONION_RDV_AUTHORIZED_CLIENT": ONE}
    assert [one.split()[0] for one in (await authorize(env, "--list")).stdout.splitlines()] == ["alice"]
    assert "1 may come, 1 of them named in the settings" in (await authorize(configured, "--remove", "alice")).stderr
    assert "the server is public" in (await authorize(env, "--list")).stderr
    await authorize(env, "carol")
    public = (await authorize(env, "--remove", "carol", "--make-public")).stderr
    assert "PUBLIC NOW" in public
    assert "the server is public" in public


async def test_nothing_is_made_for_who_only_looks_or_removes(tmp_path: Path) -> None:
    env = environment(tmp_path)
    listed = await authorize(env, "--list", "--json")
    assert listed.json == {"address": None, "clients": [], "configured": 0, "published": False}
    refused = await onion_rdv("authorize", "--remove", "alice", env=env)
    assert refused.code == 2
    assert "there is no client alice" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [STORE_FILE, NOTE_FILE, CLIENTS_FILE])
async def test_a_stopped_server_whose_key_is_elsewhere_gets_no_other(tmp_path: Path, left: str) -> None:
    """As where systemd keeps the key for it, as a credential."""
    server = tmp_path / "server"
    state_directory.make_private(server)
    (server / left).touch(0o600)
    state = ("--state-dir", str(tmp_path))
    refused = await onion_rdv("authorize", "alice", *state, env=environment(tmp_path))
    assert (refused.code, refused.stdout) == (2, "")
    assert f"has its {left}, but not its onion key" in refused.stderr
    assert "start the server first, if the key is a credential" in refused.stderr
    ClientList(server / CLIENTS_FILE).write({"alice": ONE, "bob": TWO})
    assert "alice is removed" in (await authorize(environment(tmp_path), "--remove", "alice", *state)).stderr
    assert (await authorize(environment(tmp_path), "--list", *state)).stdout.startswith("bob ")
    assert {file.name for file in server.iterdir()} == {left, CLIENTS_FILE}


async def test_nor_does_one_whose_buckets_are_in_a_database(tmp_path: Path) -> None:
    """As where systemd keeps the key, too, and nothing is left here when it has stopped."""
    env = environment(tmp_path, ONION_RDV_DATABASE="postgresql://onion:hunter2@db.example/buckets")
    state = ("--state-dir", str(tmp_path))
    refused = await onion_rdv("authorize", "alice", *state, env=env)
    assert (refused.code, refused.stdout) == (2, "")
    assert f"its buckets are in PostgreSQL, and its onion key is not in {tmp_path}/server" in refused.stderr
    assert "start the server first" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert list((tmp_path / "server").iterdir()) == []
    assert (await authorize(env, "--list", "--json", *state)).json["address"] is None
    key = load_or_create(tmp_path / "server" / KEY_FILE)
    assert (await authorize(env, "alice", "--json", *state)).json["address"] == key.address


def test_nor_does_that_of_the_unit_while_systemd_keeps_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(authorizing, "_UNIT_CREDENTIAL", tmp_path / "credential")
    monkeypatch.setattr(authorizing, "_UNIT_STATE", tmp_path / "unit" / "server")
    (tmp_path / "credential").touch()
    assert main(["authorize", "alice", "--state-dir", str(tmp_path / "unit")]) == 2
    assert f"systemd keeps its onion key, in {tmp_path}/credential" in capsys.readouterr().err
    assert list((tmp_path / "unit" / "server").iterdir()) == []
    assert main(["authorize", "alice", "--state-dir", str(tmp_path / "another")]) == 0


async def test_a_server_that_runs_and_does_not_answer(tmp_path: Path) -> None:
    with state_directory.in_use(tmp_path):
        (tmp_path / "server").symlink_to(tmp_path)
        result = await onion_rdv("authorize", "alice", "--state-dir", str(tmp_path), env=environment(tmp_path))
    assert (result.code, result.stdout) == (4, "")
    assert "and yet one is running" in result.stderr
    assert not (tmp_path / CLIENTS_FILE).exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "one of NAME, --list and --remove"),
        (["alice", "--list"], "one of NAME, --list and --remove"),
        (["a b"], "cannot be a client's name"),
        (["--remove", "a b"], "no such client"),
        (["alice", "--state-dir", "/proc/none"], "state directory"),
        (["alice", "--onion-service-dir", "/nowhere"], "not known yet"),
    ],
)
async def test_what_cannot_be_authorized(words: list[str], says: str, tmp_path: Path) -> None:
    result = await onion_rdv("authorize", *words, env=environment(tmp_path))
    assert (result.code, result.stdout) == (2, "")
    assert says in result.stderr
