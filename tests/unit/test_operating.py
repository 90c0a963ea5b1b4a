"""The commands of whoever runs a server: status, backup, restore; on a real server whose tor has no network."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from command_line import COMMAND, environment, no_surprise, onion_rdv
from offline_tor import COOKIE, offline_tor
from stores import an_entry
from terminal import at_a_terminal

from onion_rdv.protocol import BUCKET_SIZE, BucketId, bucket_link, decode_onion_address
from onion_rdv.rendezvous.admin.client import ADMIN_SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        yield environment(tmp_path, ONION_RDV_CONTROL=tor.control, ONION_RDV_STATE_DIR=str(tmp_path / "state"))


@pytest.fixture
def secret(tmp_path: Path) -> str:
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    return str(tmp_path / "passphrase")


@contextmanager
def serving(env: dict[str, str], directory: Path) -> Iterator[None]:
    """Run a server while the block runs, from when it can be asked; its onion service is never published."""
    with subprocess.Popen([*COMMAND, "serve"], env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            while not (directory / "server" / ADMIN_SOCKET).exists():
                assert process.poll() is None, process.stderr.read()
                os.sched_yield()
            yield
            process.terminate()
            assert process.wait(60) == 0
            assert no_surprise(process.stderr.read())
        finally:
            process.kill()


async def post(socket: Path, path: str, body: bytes) -> bytes:
    """Ask the server as tor would; gives the last bytes of the reply: an id where one was asked for, and a bucket."""
    connector = aiohttp.UnixConnector(str(socket))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"http://x{path}", data=body) as said,
    ):
        assert said.ok
        return (await said.read())[-BUCKET_SIZE - 12 :]


async def test_a_server_is_asked_backed_up_and_moved(env: dict[str, str], secret: str, tmp_path: Path) -> None:
    state, backup = tmp_path / "state", str(tmp_path / "backup")
    with serving(env, state):
        stored = await post(state / "server" / "web.socket", "/v1/store", an_entry())
        status = await onion_rdv("status", "--json", env=env)
        shown = await onion_rdv("status", env=env)
        made = await onion_rdv("backup", backup, "--passphrase-file", secret, "--json", env=env)
        again = await onion_rdv("backup", backup, "--passphrase-file", secret, env=env)
        refused = await onion_rdv("restore", backup, "--passphrase-file", secret, env=env)
    server = status.json["server"]
    assert (status.json["published"], status.json["buckets"], status.json["stored_entries"]) == (False, 1, 0)
    assert re.search(
        rf"^server +{server}$.*^buckets +1 kept, 1 of them open; 1 ever", shown.stdout, re.DOTALL | re.MULTILINE
    )
    assert (made.json["address"], made.json["buckets"], made.json["has_key"]) == (server, 1, True)
    assert made.json["size"] == (tmp_path / "backup").stat().st_size
    assert (again.code, again.stdout) == (0, f"{backup} has {server} with 1 buckets\n")
    assert (refused.code, refused.stdout) == (2, "")
    assert "is not empty" in refused.stderr
    for result in (made, again, refused):
        assert PASSPHRASE not in result.stdout + result.stderr

    state.rename(tmp_path / "gone")
    restored = await onion_rdv("restore", backup, "--passphrase-file", secret, "--json", env=env)
    assert restored.json["state_directory"] == str(state / "server")
    with serving(env, state):
        assert (await onion_rdv("status", "--json", env=env)).json["server"] == server
        link = bucket_link(BucketId.decode(stored[:12]), decode_onion_address(server))
        fetched = await post(state / "server" / "web.socket", "/v1/fetch", link + bytes(240))
    assert fetched[12:] == stored[12:]


async def test_a_server_that_does_not_run(env: dict[str, str], secret: str, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup")
    with serving(env, tmp_path / "state"):
        pass
    status = await onion_rdv("status", env=env)
    assert (status.code, status.stdout) == (4, "")
    assert "nobody listens at" in status.stderr
    made = await onion_rdv("backup", backup, "--passphrase-file", secret, env=env)
    assert made.code == 0
    assert "taking what one has left" in made.stderr
    nothing = await onion_rdv("backup", backup, "--passphrase-file", secret, "--state-dir", "/nowhere", env=env)
    assert (nothing.code, nothing.stdout) == (4, "")


async def test_a_passphrase_is_asked_for_or_made(env: dict[str, str], tmp_path: Path) -> None:
    backup = str(tmp_path / "backup")
    with serving(env, tmp_path / "state"):
        prompts = [("make one): ", ""), ("confirmation: ", "")]
        code, screen = await at_a_terminal([*COMMAND, "backup", backup], prompts, env)
        assert code == 0
        prompts = [("make one): ", "summer"), ("confirmation: ", "summer")]
        weak, warned = await at_a_terminal([*COMMAND, "backup", str(tmp_path / "weak")], prompts, env)
    (tmp_path / "state").rename(tmp_path / "gone")
    found = re.search(r"passphrase: ((?:[a-z]+ ){5}[a-z]+)\r", screen)
    assert found
    assert (weak, "withstands" in warned, "summer" in warned) == (0, True, False)
    code, screen = await at_a_terminal([*COMMAND, "restore", backup], [("passphrase: ", found[1])], env)
    assert code == 0
    assert found[1] not in screen


async def test_what_cannot_be_restored_leaves_nothing(env: dict[str, str], secret: str, tmp_path: Path) -> None:
    backup, new = tmp_path / "backup", tmp_path / "new"
    with serving(env, tmp_path / "state"):
        await onion_rdv("backup", str(backup), "--passphrase-file", secret, env=env)
    whole = backup.read_bytes()

    async def refused(content: bytes, says: str, passphrase: str = PASSPHRASE) -> int:
        backup.write_bytes(content)
        words = ["restore", str(backup), "--passphrase-file", "-", "--state-dir", str(new)]
        result = await onion_rdv(*words, env=env, stdin=passphrase)
        assert says in result.stderr
        assert result.stdout == ""
        assert list(new.rglob("*")) == []
        return result.code

    assert await refused(whole, "does not open with that passphrase", "another") == 6
    assert await refused(whole[:-1], "damaged, or cut short") == 9
    assert await refused(whole.replace(b"backup 1", b"backup 2"), "has format 2") == 9
    assert await refused(b"something else", "no backup of onion-rdv") == 9
    missing = await onion_rdv("restore", str(tmp_path / "none"), "--passphrase-file", secret, env=env)
    assert (missing.code, "cannot be read" in missing.stderr) == (2, True)
