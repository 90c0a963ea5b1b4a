"""Tor dies at each moment of each step, and a client says that it is tor that is gone, and blames nobody else."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from smp_peer import SmpPeer
from socks_proxy import DEATH, RecordingSocks
from talking import Person, beginning, house, joining
from test_client import KEY, LINK, PASSPHRASE, SERVER, FakeServer

from onion_rdv.client import server as client_server
from onion_rdv.client.accept import Acceptance
from onion_rdv.client.look import look
from onion_rdv.client.messaging import Hello, MessagingServer, SmpLink
from onion_rdv.client.offer import offer
from onion_rdv.client.talk import events
from onion_rdv.errors import NoTor
from onion_rdv.protocol import Invite, Limits
from onion_rdv.tor import socks as tor_socks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onion_rdv.client.talk.line import Line
    from onion_rdv.tor.socks import SocksPort

GONE = "nothing answers at the SOCKS port"
HEAD, BODY = 30, 5000
"""Bytes of a reply that end in its head, and in its body."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client_server, tor_socks):
        monkeypatch.setattr(module, "_PAUSES", (0, 0))


def dying(proxy: RecordingSocks, size: int) -> Callable[[bytes], bytes]:
    """Give a twist of replies: tor dies when it has brought so many bytes of one."""

    def twist(reply: bytes) -> bytes:
        proxy.die()
        return reply[:size]

    return twist


async def _leave(socks: SocksPort) -> str:
    offered = await offer(LINK, PASSPHRASE, SERVER, socks, limits=Limits(), timeout=20, step=print)
    return str(offered.invite)


@pytest.mark.parametrize("size", [DEATH, 0, HEAD, BODY])
@pytest.mark.parametrize("step", ["store", "read-back", "fetch"])
async def test_at_the_rendezvous_server(step: str, size: int) -> None:
    server = FakeServer()
    async with RecordingSocks([server, server] if step == "read-back" else [server]) as proxy:
        if size != DEATH:
            which = "twist_stored" if step == "store" else "twist_fetched"
            setattr(server, which, dying(proxy, size))
        elif step == "read-back":
            proxy.answers = [server, DEATH]
        else:
            proxy.answers = [DEATH]
        if step == "fetch":
            invite = Invite(KEY, 80, server.link, bytes(16))
            work = Acceptance(invite, proxy.socks, timeout=20, step=print).open(PASSPHRASE)
        else:
            work = _leave(proxy.socks)
        with pytest.raises(NoTor, match=GONE):
            await work
    assert 1 <= len(proxy.connects) <= (1 if step == "fetch" else 2), "an offer opens two streams at once"


def reset(writer: asyncio.StreamWriter) -> None:
    """End a stream as one ends whose owner was killed with bytes unread."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("when", ["asked", "open", "greeted", "reset"])
@pytest.mark.parametrize("hello", [Hello.SMP, Hello.HTTPS, Hello.HTTP])
async def test_at_a_look_at_the_messaging_server(hello: Hello, when: str) -> None:
    async with RecordingSocks([DEATH]) as proxy:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if when in {"greeted", "reset"}:
                await reader.read(1)
            if when == "reset":
                reset(writer)
            proxy.die()

        if when != "asked":
            proxy.answers = [serve]
        peer = SmpPeer().server
        smp = SmpLink("one-time invitation", peer) if hello is Hello.SMP else None
        seen = await look(MessagingServer(peer.host, 5223, hello, smp), proxy.socks, timeout=20)
    assert isinstance(seen.error, NoTor)
    assert GONE in seen.detail
    assert not seen.reachable


@pytest.mark.parametrize("end", ["beginner", "joiner"])
@pytest.mark.parametrize("when", ["asked", "greeted", "reset"])
async def test_at_a_talks_beginning(when: str, end: str, tmp_path: Path) -> None:
    async with house(tmp_path) as at, beginning(at.ports[0].socks, at.place) as one, RecordingSocks([DEATH]) as proxy:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            if when == "reset":
                reset(writer)
            proxy.die()

        if when != "asked":
            proxy.answers = [serve]
        way: Any = beginning(proxy.socks, at.place) if end == "beginner" else joining(one.link, proxy.socks)
        with pytest.raises(NoTor, match=GONE):
            async with way:
                pass


async def test_in_a_talk(tmp_path: Path) -> None:
    """It is waited for as long as for an answer; then the talk is over, and nothing is waited for at its end."""
    async with house(tmp_path) as at, at.two() as (one, other):
        for connection in lines_of(one):
            connection._timeout = 0.5
        at.ports[0].die()
        at.ways[0].cut()
        other.talk.say("never arrives")
        with pytest.raises(NoTor, match=f"{GONE}.* and nothing has for"):
            await one.end()
        await one.talk._inbox.erase()
        last = one.happened[-1]
        assert isinstance(last, events.NotErased)
        assert GONE in last.reason, "nor is it only the time that is over"
        assert one.heard == []


async def test_that_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path) as at, at.two() as (one, other):
        at.ports[0].die()
        at.ways[0].cut()
        other.talk.say("hello")
        while not any(connection._no_tor_since for connection in lines_of(one)):
            await asyncio.sleep(0.02)
        await at.ports[0].rise()
        await one.until(lambda: one.heard == ["hello"])
        assert all(connection._no_tor_since is None for connection in lines_of(one))


def lines_of(person: Person) -> tuple[Line, Line]:
    assert person.talk._outlet is not None
    return person.talk._inbox._line, person.talk._outlet._line
