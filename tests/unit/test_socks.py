"""The SOCKS port: its address, telling tor from other proxies, credentials."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from socks_proxy import RESOLVE, SILENCE, RecordingSocks

from onion_rdv.errors import SettingsError, StreamFailed
from onion_rdv.tor import socks
from onion_rdv.tor.socks import SocksPort, end_stream, open_stream, open_stream_patiently, share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("9050", "127.0.0.1:9050"),
        ("localhost:9050", "127.0.0.1:9050"),
        ("127.0.0.1:9050", "127.0.0.1:9050"),
        ("10.152.152.10:9050", "10.152.152.10:9050"),
        ("[::1]:9050", "[::1]:9050"),
    ],
)
def test_addresses(text: str, written: str) -> None:
    assert str(SocksPort.parse(text)) == written


@pytest.mark.parametrize(
    "text", ["", "tor", "tor:9050", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "1.2.3:80", ":x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        SocksPort.parse(text)


async def test_tor_is_told_from_other_proxies() -> None:
    async with RecordingSocks([1]) as tor, RecordingSocks([0], knows_resolve=False) as other:
        assert await socks.is_tor(tor.socks)
        assert not await socks.is_tor(other.socks)
        assert await socks.find_socks((other.socks.port, tor.socks.port)) == tor.socks
        assert await socks.find_socks((other.socks.port,)) is None
    assert {request.command for request in tor.requests} == {RESOLVE}
    assert not await socks.is_tor(tor.socks), "nothing listens there any more"


@pytest.mark.parametrize(
    "said", [b"", b"\x05\x00", b"HTTP/1.0 400 Bad Request\r\n", b"\x05\x02\x01\x01", b"\x05\x02"]
)
async def test_other_things_that_listen_are_not_tor(said: bytes) -> None:
    ended = asyncio.Event()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        if said != b"\x05\x02":  # after which the rest is waited for
            writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = SocksPort("127.0.0.1", server.sockets[0].getsockname()[1])
        assert not await socks.is_tor(port, timeout=1)
        await asyncio.wait_for(ended.wait(), 20)


def test_credentials_are_never_the_same() -> None:
    assert len({word for _ in range(100) for word in socks.fresh_credentials()}) == 200


def test_half_of_the_time_is_kept_for_another_circuit() -> None:
    assert share(60) == 30
    assert share(30) is None, "what is left is not halved until nothing can succeed"


async def test_a_circuit_that_goes_silent_is_given_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [0.2, None]
    monkeypatch.setattr(socks, "share", lambda _: shares.pop(0))

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()

    async with RecordingSocks([SILENCE, greet]) as proxy:
        reader, writer = await open_stream_patiently(proxy.socks, "smp.invalid", 5223, 20)
        assert await reader.read() == b"hello"
        await end_stream(writer)
    assert len({request.credentials for request in proxy.connects}) == 2


@pytest.mark.parametrize(
    ("host", "kind", "asked"),
    [
        ("192.0.2.7", 1, "192.0.2.7"),
        ("2001:db8::7", 4, "2001:db8::7"),
        ("smp.example", 3, "smp.example"),
        ("b\u00fccher.example", 3, "xn--bcher-kva.example"),
    ],
)
async def test_hosts_are_asked_for_as_what_they_are(host: str, kind: int, asked: str) -> None:
    async with RecordingSocks([1]) as proxy:
        with pytest.raises(StreamFailed, match="could not connect"):
            await open_stream(proxy.socks, host, 443, 20)
    assert [(one.address_type, one.host, one.port) for one in proxy.connects] == [(kind, asked, 443)]


@pytest.mark.parametrize(
    "host", ["", "a..b", ".a", "a.", "b" * 64 + ".onion", "\u00fc" * 60, "\ud800", ".".join(["a" * 61] * 5)]
)
async def test_what_is_no_host_is_asked_of_nobody(host: str) -> None:
    async with RecordingSocks([1]) as proxy:
        for ask in (open_stream, open_stream_patiently):
            with pytest.raises(StreamFailed, match="neither a name nor an address") as caught:
                await ask(proxy.socks, host, 443, 20)
            assert caught.value.__context__ is None, "which would have the host in it"
    assert proxy.requests == []


_LET_IN = b"\x05\x02\x01\x00"


@pytest.mark.parametrize("address", [b"\x01" + bytes(4), b"\x04" + bytes(16), b"\x03\x05there"])
async def test_a_stream_begins_where_the_answer_ends(address: bytes) -> None:
    async with _listening(_LET_IN + b"\x05\x00\x00" + address + b"\0\0hello") as port:
        reader, writer = await open_stream(port, "smp.example", 5223, 20)
        assert await reader.read() == b"hello"
        await end_stream(writer)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x05\xff",
        b"\x04\x00",
        b"\x05\x02\x01\x01",
        _LET_IN,
        _LET_IN + b"\x04\x00\0\x01",
        _LET_IN + b"\x05\0\0\x02",
    ],
)
async def test_what_is_no_answer_is_taken_for_none(said: bytes) -> None:
    async with _listening(said) as port:
        with pytest.raises(StreamFailed, match="closed the stream without an answer"):
            await open_stream(port, "smp.example", 5223, 20)


@asynccontextmanager
async def _listening(said: bytes) -> AsyncIterator[SocksPort]:
    """Have something listen that says this to whoever comes, and nothing else."""
    ended = asyncio.Event()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.write_eof()
        with suppress(OSError):
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        yield SocksPort("127.0.0.1", server.sockets[0].getsockname()[1])
        await asyncio.wait_for(ended.wait(), 20)
