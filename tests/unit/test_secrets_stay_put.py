"""Where secrets go: every command is run, and all that it hands to the kernel is searched for what it was told.

A secret may be in the result that was asked for and in the file that is there for it, and nowhere else: not in any
other file, be it for a moment, not on stderr, not in what goes to a server, not in a program's arguments or
variables.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import signal
from typing import TYPE_CHECKING

from canaries import a_link, a_passphrase
from command_line import COMMAND
from offline_server import serving_offline
from offline_tor import COOKIE, offline_tor
from secret_watch import SecretWatch
from server_process import ServerProcess
from smp_server import running
from socks_proxy import RecordingSocks
from stores import an_entry
from talk_process import TalkProcess
from test_cli_talk import World
from test_client import KEY, FakeServer

from onion_rdv.cli.main import COMMANDS
from onion_rdv.protocol import Invite, encode_onion_address, open_bucket
from onion_rdv.smp.server.certificates import IDENTITY_FILE, LEAF_FILE
from onion_rdv.tor.client_authorization import Credential
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = encode_onion_address(KEY)
CLIENTS = {"offer", "info", "accept", "talk", "auth", "doctor"}
SERVERS = {"serve", "status", "backup", "restore", "authorize", "messaging", "withdraw"}


def test_every_command_that_has_secrets_is_tried_here() -> None:
    have_none = {"completion", "demo", "testnet"}  # the last two make throw-away ones, on a network of their own
    assert set(COMMANDS) - have_none == CLIENTS | SERVERS


async def test_a_link_its_invite_and_its_passphrase(tmp_path: Path) -> None:
    server, link, passphrase = FakeServer(), a_link(), a_passphrase()
    async with RecordingSocks([server]) as proxy:
        watch = SecretWatch.at(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        file = watch.give("passphrase", passphrase)
        watch.canaries.text("link", link)
        offered = (await watch.run("offer", "-", "--passphrase-file", file, stdin=link)).stdout.strip()
        watch.canaries.invite(offered, passphrase)

        await watch.run("accept", "-", "--no-probe", "--passphrase-file", file, stdin=offered)

        made = await watch.run("offer", "-", stdin=link, name="made")
        words = re.search("^passphrase: (.*)$", made.stderr, re.MULTILINE)
        assert words
        watch.canaries.invite(made.stdout.strip(), words[1])
        one = (await watch.run("offer", "-", "--json", "--one-channel", stdin=link, name="one")).json
        watch.canaries.invite(one["invite"], one["passphrase"])

        await watch.run("info", "-", stdin=offered)
        wrong = watch.give("wrong", "something else")
        await watch.run("accept", "-", "--passphrase-file", wrong, stdin=offered, name="wrong", code=6)
        damaged = offered[:-1] + ("a" if offered[-1] != "a" else "b")
        await watch.run("accept", "-", "--passphrase-file", file, stdin=damaged, name="damaged", code=2)
        await watch.run("doctor", "--server", ADDRESS, "--json", code=0)
        server.twist_fetched = lambda reply: reply[:-1]
        await watch.run("accept", "-", "--passphrase-file", file, stdin=offered, name="cut", code=4)
    watch.check(
        offer={"stdout": {"invite"}},
        made={"stdout": {"invite"}, "stderr": {"passphrase"}},
        one={"stdout": {"invite", "passphrase"}},
        accept={"stdout": {"link"}},
    )


async def test_a_talk(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    async with running(tmp_path / "server") as server:
        world = World(server)
        async with RecordingSocks([world]) as proxy:
            watch = SecretWatch.at(
                tmp_path,
                ONION_RDV_SOCKS=str(proxy.socks),
                ONION_RDV_SERVER=ADDRESS,
                ONION_RDV_MESSAGING_SERVER=str(world.place),
            )
            await _talk(watch, world)
    watch.check(
        one={"stdout": {"invite", "passphrase", "heard by one", "code"}},
        other={"stdout": {"heard by other", "code"}},
    )


async def _talk(watch: SecretWatch, world: World) -> None:
    heard = {name: secrets.token_hex(16) for name in ("one", "other")}
    async with (
        watch.recording("one") as recorder,
        TalkProcess.running(env=watch.env, wrapper=recorder.wrapper) as one,
    ):
        offered = await one.hears_of("invite")
        invite, passphrase = Invite.parse(offered["invite"]), offered["passphrase"]
        words = ["--invite-file", watch.give("invite", offered["invite"])]
        words += ["--passphrase-file", watch.give("passphrase", passphrase)]
        async with (
            watch.recording("other") as other_recorder,
            TalkProcess.running(*words, env=watch.env, wrapper=other_recorder.wrapper) as other,
        ):
            code = (await one.hears_of("met"))["code"]
            other.order(say=heard["one"])
            one.order(say=heard["other"])
            await one.hears_of("said")
            await other.hears_of("said")
            one.order(quit=True)
            assert (await one.end(), await other.end()) == (0, 0)
    watch.canaries.invite(offered["invite"], passphrase)
    assert isinstance(world.rendezvous, FakeServer)
    watch.canaries.text("talk link", open_bucket(world.rendezvous.bucket, passphrase, invite.salt, invite.onion_key))
    watch.canaries.text("code", '", "'.join(code))
    for name, text in heard.items():
        watch.canaries.text(f"heard by {name}", text)


async def test_a_key_for_a_private_server(tmp_path: Path) -> None:
    watch, credential = SecretWatch.at(tmp_path), Credential.generate(ADDRESS)
    _know_credential(watch, "key", credential.line)
    await watch.run("auth", "add", "-", stdin=credential.line)
    await watch.run("auth", "list", "--json", name="list")
    await watch.run("auth", "add", "-", stdin=f"{credential.line}x", name="wrong", code=2)
    await watch.run("auth", "add", credential.line, name="argument", code=2)
    kept = f"{credential.service}.auth_private"
    watch.calls["argument"] = [call for call in watch.calls["argument"] if call.name != "execve"]
    watch.check(auth={kept: {"key"}}, files={f".local/state/onion-rdv/onion-auth/{kept}": {"key"}})
    await watch.run("auth", "remove", ADDRESS, name="remove")
    watch.check(auth={kept: {"key"}})


async def test_what_an_operator_has(tmp_path: Path) -> None:
    passphrase = a_passphrase()
    with offline_tor(tmp_path / "tor", COOKIE, f"Log debug file {tmp_path}/tor/log") as tor:
        watch = SecretWatch.at(tmp_path, ONION_RDV_CONTROL=tor.control)
        state, file = watch.home / ".local" / "state" / "onion-rdv", watch.give("passphrase", passphrase)
        watch.canaries.text("passphrase", passphrase)
        async with (
            watch.recording("serve") as recorder,
            serving_offline(state, env=watch.env, wrapper=recorder.wrapper) as server,
        ):
            await server.store(an_entry())
            await recorder.wait_for(b"ADD_ONION ED25519-V3:")
            _know_key(watch, state / "server" / KEY_FILE)
            await watch.run("status")
            await watch.run("backup", str(watch.given / "backup"), "--passphrase-file", file)
        authorized = await watch.run("authorize", "alice")
        _know_credential(watch, "client's key", authorized.stdout.strip())
        await watch.run("authorize", "--list", name="list")
        new = state.with_name("new")
        words = [str(watch.given / "backup"), "--state-dir", str(new), "--passphrase-file"]
        await watch.run("restore", *words, file)
        await watch.run("restore", *words, watch.give("wrong", "something else"), name="wrong", code=2)
        await watch.run("withdraw")
        assert watch.canaries.found_in((tmp_path / "tor" / "log").read_bytes()) == set()
    kept = {"onion key"}
    watch.check(
        serve={KEY_FILE: kept, "socket": kept},  # tor's control port, and the admin socket for the backup
        restore={KEY_FILE: kept},
        authorize={"stdout": {"client's key"}},
        files={f".local/state/{name}/server/{KEY_FILE}": kept for name in ("onion-rdv", "new")},
    )


async def test_a_messaging_server(tmp_path: Path) -> None:
    password = secrets.token_hex(16)
    with offline_tor(tmp_path / "tor", COOKIE) as tor:
        watch = SecretWatch.at(tmp_path, ONION_RDV_CONTROL=tor.control)
        watch.canaries.text("password", password)
        words = ["messaging", "serve", "--password-file", watch.give("password", password)]
        async with watch.recording("messaging") as recorder:
            process = await asyncio.create_subprocess_exec(
                *recorder.wrapper, *COMMAND, *words, env=watch.env, stderr=asyncio.subprocess.PIPE
            )
            server = ServerProcess(process)
            reading = asyncio.create_task(server.read_stderr())
            await recorder.wait_for(b"ADD_ONION ED25519-V3:")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            await reading
        state = watch.home / ".local" / "state" / "onion-rdv" / "messaging"
        _know_key(watch, state / KEY_FILE)
        for name in (IDENTITY_FILE, LEAF_FILE):
            key = "".join((state / name).read_text().partition("PRIVATE KEY-----\n")[2].split("-----")[0].split())
            watch.canaries.raw(name, base64.b64decode(key)[-32:])
            watch.canaries.text(name, key[-40:])
    kept = {KEY_FILE: {"onion key"}, IDENTITY_FILE: {IDENTITY_FILE}, LEAF_FILE: {LEAF_FILE}}
    watch.check(
        messaging={**kept, "socket": {"onion key"}},
        files={f".local/state/onion-rdv/messaging/{name}": found for name, found in kept.items()},
    )


def _know_credential(watch: SecretWatch, name: str, line: str) -> None:
    key = Credential.parse(line).secret
    watch.canaries.raw(name, key)
    watch.canaries.text(name, line.rpartition(":")[2])


def _know_key(watch: SecretWatch, file: Path) -> None:
    blob = file.read_text().splitlines()[2].partition(":")[2]
    watch.canaries.raw("onion key", base64.b64decode(blob)[:32], base64.b64decode(blob)[32:])
