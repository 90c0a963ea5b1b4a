"""A look at messaging servers: what is sent, and what becomes of every sort of answer."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from socks_proxy import DOMAIN_NAME, RecordingSocks

from onion_rdv.client.look import Look, look
from onion_rdv.client.messaging import Hello, MessagingServer
from onion_rdv.tor import socks as tor_socks

PEM = Path(__file__).parent.parent / "data" / "throw_away_tls.pem"
HOST = "messaging.invalid"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tor_socks, "_PAUSES", (0, 0))


def server(hello: Hello) -> MessagingServer:
    return MessagingServer(HOST, 5223, hello)


class TlsServer:
    """Shakes hands, and remembers what the client said in the clear."""

    def __init__(self, *, tls13: bool = True) -> None:
        self.names: list[str | None] = []
        self.protocols: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(PEM)
        self._context.set_alpn_protocols(["smp/1"])
        if not tls13:
            self._context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._context.sni_callback = self._note_name

    def _note_name(self, _socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self.names.append(name)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ssl.SSLError, ConnectionError):
            await writer.start_tls(self._context)
            self.protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
            await reader.read()


async def test_smp_is_greeted_with_tls_1_3_and_no_name() -> None:
    answering = TlsServer()
    async with RecordingSocks([answering]) as proxy:
        answer = await look(server(Hello.SMP), proxy.socks, timeout=20)
        async with asyncio.timeout(20):
            while not answering.protocols:
                await asyncio.sleep(0.01)  # it has yet to hear the end of the handshake
    assert answer == Look(reachable=True, detail="it answers with TLS 1.3; its identity was not checked")
    assert answering.names == [None]
    assert answering.protocols == ["smp/1"]
    request = proxy.requests[0]
    assert (request.address_type, request.host, request.port) == (DOMAIN_NAME, HOST, 5223)


async def test_smp_is_not_greeted_with_older_tls() -> None:
    async with RecordingSocks([TlsServer(tls13=False)]) as proxy:
        answer = await look(server(Hello.SMP), proxy.socks, timeout=20)
    assert not answer.reachable
    assert "does not answer as such a server should" in answer.detail


async def test_https_is_greeted_by_name() -> None:
    answering = TlsServer()
    async with RecordingSocks([answering]) as proxy:
        assert (await look(server(Hello.HTTPS), proxy.socks, timeout=20)).reachable
    assert answering.names == [HOST]


async def test_http_is_asked_for_nothing_but_its_head() -> None:
    asked = []

    async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        await writer.drain()

    async with RecordingSocks([answer_http]) as proxy:
        answer = await look(server(Hello.HTTP), proxy.socks, timeout=20)
    assert answer == Look(reachable=True, detail="it answers with HTTP status 404")
    assert asked == [f"HEAD / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()]


async def test_anything_else_is_only_connected_to() -> None:
    received = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())

    async with RecordingSocks([listen]) as proxy:
        assert (await look(server(Hello.TCP), proxy.socks, timeout=20)).reachable
        async with asyncio.timeout(20):
            while not received:
                await asyncio.sleep(0.01)
    assert received == [b""]


@pytest.mark.parametrize("said", [b"", b"HTT", b"\x1b[2J" * 10, b"SSH-2.0-OpenSSH\r\n"])
@pytest.mark.parametrize("hello", [Hello.HTTP, Hello.SMP])
async def test_something_else_listens_there(said: bytes, hello: Hello) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        await writer.drain()

    async with RecordingSocks([say]) as proxy:
        answer = await look(server(hello), proxy.socks, timeout=20)
    assert not answer.reachable
    assert answer.detail.isprintable()


@pytest.mark.parametrize(("code", "says", "tries"), [(5, "nothing listens", 1), (0xF0, "no descriptor", 3)])
async def test_refusals(code: int, says: str, tries: int) -> None:
    async with RecordingSocks([code]) as proxy:
        answer = await look(server(Hello.SMP), proxy.socks, timeout=20)
    assert not answer.reachable
    assert says in answer.detail
    assert len({request.credentials for request in proxy.connects}) == len(proxy.connects) == tries


async def test_a_server_that_says_nothing() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.sleep(60)

    async with RecordingSocks([wait]) as proxy:
        answer = await look(server(Hello.HTTP), proxy.socks, timeout=0.5)
    assert not answer.reachable
    assert "no answer within" in answer.detail


async def test_tor_that_went_away() -> None:
    async with RecordingSocks([5]) as proxy:
        gone = proxy.socks
    answer = await look(server(Hello.TCP), gone, timeout=5)
    assert not answer.reachable
    assert "nothing answers at the SOCKS port" in answer.detail
