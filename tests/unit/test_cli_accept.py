"""How ``accept`` goes on after the link has come: the look at the messaging server, the app, the QR code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, environment, no_surprise, onion_rdv
from contact_links import ContactLink
from desktop import Portal, message_bus_daemon
from smp_peer import SmpPeer, Talk
from socks_proxy import DEATH, RecordingSocks
from test_client import KEY, FakeServer

from onion_rdv.cli.main import main
from onion_rdv.client.talk.link import TalkLink
from onion_rdv.protocol import encode_onion_address
from onion_rdv.protocol.short_link import LinkScheme, LinkType
from onion_rdv.smp.wire.replies import Err, Lnk, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from command_line import Result

ADDRESS = encode_onion_address(KEY)
SERVER = SmpPeer().server
MADE = ContactLink(SERVER)
LINK = MADE.link().write()


def serve(reply: Reply) -> SmpPeer:
    """Answer everything with this."""

    async def answer(talk: Talk) -> None:
        while True:
            for transmission, _ in await talk.receive():
                await talk.send(talk.reply(transmission, reply))

    return SmpPeer(then=answer)


@asynccontextmanager
async def offered(link: str, directory: Path) -> AsyncIterator[tuple[RecordingSocks, dict[str, str], str]]:
    """Leave a link at a rendezvous server; gives the SOCKS port, the environment and the invite."""
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        env = environment(directory, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        result = await onion_rdv("offer", "-", "--one-channel", env=env, stdin=link)
        assert result.code == 0, result.stderr
        proxy.answers[:] = [server]
        yield proxy, env, result.stdout.strip()


async def accept(directory: Path, link: str, answer: SmpPeer | int, *more: str, **variables: str) -> Result:
    """Let a link come through, with something that answers at the messaging server."""
    async with offered(link, directory) as (proxy, env, invite):
        proxy.answers.append(answer)
        return await onion_rdv("accept", "-", *more, env=env | variables, stdin=invite)


@pytest.mark.parametrize("how", [["--json"], [], ["--json", "--qr"]], ids=" ".join)
async def test_a_look_that_goes_wrong_does_not_lose_the_link(
    how: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def look(*_: object, **__: object) -> None:
        raise RuntimeError(LINK)

    def draw(_: str) -> None:
        raise RuntimeError(LINK)

    monkeypatch.setattr("onion_rdv.client.look.look", look)
    monkeypatch.setattr("onion_rdv.cli.accept.draw", draw)
    async with offered(LINK, tmp_path) as (proxy, _, invite):
        capfd.readouterr()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.setenv("ONION_RDV_SOCKS", str(proxy.socks))
        code = await asyncio.to_thread(main, ["accept", invite, *how])
    printed = capfd.readouterr()
    assert code == 70
    assert "something went wrong inside onion-rdv: RuntimeError" in printed.err
    assert LINK not in printed.err
    if how:
        seen = {"host": None, "kind": None, "reachable": None, "identity": None, "alive": None}
        detail = "the look at it was broken off"
        assert json.loads(printed.out) == {"link": LINK, "messaging_server": {**seen, "detail": detail}}
    else:
        assert printed.out == f"{LINK}\n"


async def test_who_ends_the_look_has_the_link(tmp_path: Path) -> None:
    is_asked = asyncio.Event()

    async def be_silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        is_asked.set()
        await asyncio.Event().wait()

    async with offered(LINK, tmp_path) as (proxy, env, invite):
        proxy.answers.append(be_silent)
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "accept",
            invite,
            "--json",
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await asyncio.wait_for(is_asked.wait(), 60)
            process.send_signal(signal.SIGINT)
            stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 130
    assert no_surprise(stderr.decode())
    assert json.loads(stdout)["link"] == LINK


@pytest.mark.parametrize("how", [[], ["--json"], ["--open"], ["--probe=require"]], ids=str)
@pytest.mark.parametrize("link", [LINK, "http://chat.example/"])
async def test_a_tor_that_dies_during_the_look_is_an_error_and_the_link_is_there(
    link: str, how: list[str], tmp_path: Path
) -> None:
    result = await accept(tmp_path, link, DEATH, *how)
    assert result.code == 3
    assert "onion-rdv: no Tor was found: nothing answers at the SOCKS port" in result.stderr
    assert "handed to the app" not in result.stderr
    assert (result.json["link"] if "--json" in how else result.stdout.rstrip("\n")) == link
    if "--json" in how:
        seen = result.json["messaging_server"]
        assert (seen["reachable"], seen["alive"]) == (False, None)
        assert "nothing answers at the SOCKS port" in seen["detail"]


async def test_a_link_that_is_alive(tmp_path: Path) -> None:
    result = await accept(tmp_path, LINK, serve(MADE.answer()), "--json", "--probe=require")
    assert result.code == 0
    assert result.json == {
        "link": LINK,
        "messaging_server": {
            "host": SERVER.host,
            "kind": "contact address",
            "reachable": True,
            "identity": True,
            "alive": True,
            "detail": "it answers, and is the server that the link names; the link is alive",
        },
    }
    assert "this is a SimpleX link: contact address" in result.stderr
    assert "through an exit relay" in result.stderr


async def test_a_long_link_with_an_onion_service_fits(tmp_path: Path) -> None:
    hosts = ("smp.example.org", encode_onion_address(KEY))
    onion = replace(MADE.link(), type=LinkType.ONE_TIME, link_id=os.urandom(24), hosts=hosts, port=7001)
    assert len(onion.write()) > 206
    result = await accept(tmp_path, onion.write(), 5, "--json")
    assert result.json["link"] == onion.write()
    assert result.json["messaging_server"]["host"] == encode_onion_address(KEY)
    assert "exit relay" not in result.stderr


@pytest.mark.parametrize(("probe", "code"), [("yes", 0), ("require", 8), ("no", 0)])
async def test_a_link_that_is_dead(tmp_path: Path, probe: str, code: int) -> None:
    result = await accept(tmp_path, LINK, serve(Err("AUTH")), f"--probe={probe}")
    assert (result.code, result.stdout) == (code, LINK + "\n")
    assert ("the link leads nowhere" in result.stderr) is (probe != "no")


@pytest.mark.parametrize("probe", ["yes", "require"])
async def test_another_server_than_the_link_names(tmp_path: Path, probe: str) -> None:
    other = replace(MADE.link(), key_hash=bytes(32)).write()
    result = await accept(tmp_path, other, serve(MADE.answer()), f"--probe={probe}", "--open")
    assert (result.code, result.stdout) == (7, other + "\n")
    assert "is not the messaging server that the link names" in result.stderr
    assert "handed" not in result.stderr


async def test_a_failed_check_of_the_link_data(tmp_path: Path) -> None:
    wrong = Lnk(bytes(24), MADE.answer().data)
    result = await accept(tmp_path, LINK, serve(wrong), "--json")
    assert result.code == 7
    assert result.json["messaging_server"]["alive"] is None
    assert "it names another queue" in result.stderr


async def test_the_app_gets_the_link_in_the_form_that_no_browser_opens(tmp_path: Path) -> None:
    portal = Portal()
    with message_bus_daemon(tmp_path) as address, portal.on(address):
        result = await accept(tmp_path, LINK, serve(MADE.answer()), "--open", DBUS_SESSION_BUS_ADDRESS=address)
    assert result.code == 0, result.stderr
    assert portal.opened == [("OpenURI", MADE.link().with_scheme(LinkScheme.SIMPLEX).write())]
    assert "handed to the app" in result.stderr


async def test_without_a_desktop_the_link_is_printed_all_the_same(tmp_path: Path) -> None:
    result = await accept(tmp_path, LINK, 5, "--open", "--no-probe")
    assert (result.code, result.stdout) == (2, LINK + "\n")
    assert "there is no desktop session here" in result.stderr


async def test_no_browser_is_handed_a_link(tmp_path: Path) -> None:
    link = "https://chat.example.org/room"
    result = await accept(tmp_path, link, 5, "--open", "--no-probe")
    assert (result.code, result.stdout) == (2, link + "\n")
    assert "only SimpleX links are" in result.stderr


async def test_the_link_can_be_scanned(tmp_path: Path) -> None:
    result = await accept(tmp_path, LINK, 5, "--qr", "--no-probe")
    assert (result.code, result.stdout) == (0, LINK + "\n")
    assert "█" in result.stderr


async def test_a_talk_is_not_for_an_app(tmp_path: Path) -> None:
    link = str(TalkLink(SERVER, os.urandom(24), os.urandom(32)))
    result = await accept(tmp_path, link, 5)
    assert (result.code, result.stdout) == (2, "")
    assert "join it with onion-rdv talk" in result.stderr
    assert link not in result.stderr
