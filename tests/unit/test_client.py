"""The client against servers that are honest, broken or malicious, through a SOCKS port that records everything."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from argon2 import low_level
from nacl import bindings
from socks_proxy import DOMAIN_NAME, SILENCE, RecordingSocks

from onion_rdv import errors
from onion_rdv.client import server as client_server
from onion_rdv.client.accept import Acceptance
from onion_rdv.client.offer import offer
from onion_rdv.client.server import RendezvousServer
from onion_rdv.protocol import BUCKET_SIZE, ENTRY_SIZE, BucketId, Invite, Limits, bucket_link, encode_onion_address
from onion_rdv.protocol.bucket import LIFETIME
from onion_rdv.protocol.exchange import (
    FETCH_PATH,
    STORE_PATH,
    Problem,
    bucket_reply,
    problem_reply,
    stored_reply,
)
from onion_rdv.tor import socks

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = bytes(range(32))
SERVER = RendezvousServer(KEY)
LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.example.org"
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_server, "_PAUSES", (0, 0))


@dataclass
class FakeServer:
    """A rendezvous server in memory; a test replaces what it wants to go wrong."""

    number: int = 0
    opened_ago: int = 0
    place: int = 17
    requests: list[bytes] = field(default_factory=list)
    bucket: bytes = field(default_factory=lambda: secrets.token_bytes(BUCKET_SIZE))
    twist_stored: Callable[[bytes], bytes] = lambda reply: reply
    twist_fetched: Callable[[bytes], bytes] = lambda reply: reply

    def __post_init__(self) -> None:
        self.bucket_id = BucketId(int(time.time()) - self.opened_ago, self.number)
        self.link = bucket_link(self.bucket_id, KEY)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(ENTRY_SIZE)
        self.requests.append(head + body)
        writer.write(self.reply(head.split(b" ")[1].decode(), body))
        await writer.drain()

    def reply(self, path: str, body: bytes) -> bytes:
        if path == STORE_PATH:
            start = self.place * ENTRY_SIZE
            self.bucket = self.bucket[:start] + body + self.bucket[start + ENTRY_SIZE :]
            return self.twist_stored(stored_reply(self.bucket_id, self.bucket))
        assert path == FETCH_PATH
        if body[:16] != self.link:
            return problem_reply(Problem.BUCKET_UNKNOWN)
        return self.twist_fetched(bucket_reply(self.bucket))


async def make_offer(proxy: RecordingSocks, limits: Limits | None = None, timeout: float = 20) -> Invite:
    offered = await offer(
        LINK, PASSPHRASE, SERVER, proxy.socks, limits=limits or Limits(), timeout=timeout, step=lambda _: None
    )
    assert offered.expires_at == offered.bucket_id.created_at + LIFETIME
    return offered.invite


async def test_offer_and_accept() -> None:
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        invite = Invite.parse(str(await make_offer(proxy)))
        acceptance = Acceptance(invite, proxy.socks, timeout=20, step=print)
        with pytest.raises(errors.NoEntryOpens):
            await acceptance.open("something else")
        assert await acceptance.open(PASSPHRASE) == LINK
    assert len(server.requests) == 3, "another passphrase is tried on the bucket that is there"
    assert len({len(request) for request in server.requests}) == 1, "all requests have the same length"
    assert {request.address_type for request in proxy.requests} == {DOMAIN_NAME}
    assert {request.host for request in proxy.connects} == {encode_onion_address(KEY)}
    assert len({request.credentials for request in proxy.connects}) == 3, "each request has its own circuit"


async def test_offer_and_accept_make_each_the_calls_of_argon2id_that_they_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def noting(call: Callable[..., bytes], memory: str, units_in_a_kib: int) -> Callable[..., bytes]:
        signature = inspect.signature(call)

        def noted(*arguments: Any, **named: Any) -> bytes:
            calls.append(signature.bind(*arguments, **named).arguments[memory] // units_in_a_kib)
            return call(*arguments, **named)

        return noted

    server = FakeServer()
    monkeypatch.setattr(low_level, "hash_secret_raw", noting(low_level.hash_secret_raw, "memory_cost", 1))
    monkeypatch.setattr(bindings, "crypto_pwhash_alg", noting(bindings.crypto_pwhash_alg, "memlimit", 1024))
    async with RecordingSocks([server]) as proxy:
        invite = await make_offer(proxy)
        assert calls == [65_536, 19_456], "the entry's keys, and the bucket's link"
        calls.clear()
        assert await Acceptance(invite, proxy.socks, timeout=20, step=print).open(PASSPHRASE) == LINK
    assert calls == [65_536], "the entry's keys alone"


async def test_requests_say_nothing_needless() -> None:
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        await make_offer(proxy)
    head = server.requests[0].split(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"POST /v1/store HTTP/1.1"
    assert [line.split(b":")[0] for line in head[1:]] == [b"Host", b"Content-Type", b"Content-Length"]


@pytest.mark.parametrize("exempt", ["*", SERVER.host, "localhost"])
async def test_nothing_of_the_environment_changes_the_way(exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", exempt)
    async with RecordingSocks([FakeServer()]) as proxy:
        await make_offer(proxy)
    assert [request.host for request in proxy.connects] == [SERVER.host] * 2


async def test_limits_can_be_set() -> None:
    async with RecordingSocks([FakeServer(number=16, opened_ago=2 * 3600)]) as proxy:
        await make_offer(proxy, Limits(max_bucket_age=3 * 3600, max_bucket_number=16))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0xF0, errors.OnionServiceNotFound),
        (0xF4, errors.ClientAuthorizationNeeded),
        (0xF5, errors.ClientAuthorizationNeeded),
        (0xF6, errors.ServerUnreachable),
        (0xF2, errors.ServerUnreachable),
        (0x05, errors.ServerUnreachable),
        (0x01, errors.ServerUnreachable),
        (0x63, errors.ServerUnreachable),
    ],
)
async def test_refusals_in_plain_words(
    code: int, kind: type[errors.RdvError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_server, "_PAUSES", (0.2,))
    async with RecordingSocks([code]) as proxy:
        with pytest.raises(kind) as caught:
            await make_offer(proxy, timeout=20 if code in socks.FINAL or code == socks.NOT_PUBLISHED else 1)
    assert caught.value.exit_code == 4
    assert caught.value.message.isprintable()


async def test_a_first_404_is_not_the_last_word() -> None:
    server = FakeServer()
    async with RecordingSocks([0xF0, 0xF0, server]) as proxy:
        await make_offer(proxy)
    assert len({request.credentials for request in proxy.connects}) == len(proxy.connects) == 4


async def test_final_refusals_are_not_repeated() -> None:
    async with RecordingSocks([0xF4]) as proxy:
        with pytest.raises(errors.ClientAuthorizationNeeded):
            await make_offer(proxy)
    assert len(proxy.connects) == 2, "those that were opened together, and no other"


async def test_a_lost_reply_is_no_reason_to_use_a_salt_twice() -> None:
    server = FakeServer()
    seen: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head + await reader.readexactly(ENTRY_SIZE))

    async with RecordingSocks([hang_up, server]) as proxy:
        await make_offer(proxy)
    assert seen[0].startswith(b"POST /v1/store")
    assert seen[0][-ENTRY_SIZE:] != server.requests[0][-ENTRY_SIZE:]


@pytest.mark.parametrize(
    ("sent", "says"), [(0, "before there was"), (50, "before there was"), (9000, "in the middle of")]
)
async def test_a_stream_that_always_breaks(sent: int, says: str) -> None:
    server = FakeServer(twist_stored=lambda reply: reply[:sent])
    async with RecordingSocks([server]) as proxy:
        with pytest.raises(errors.ReplyLost, match=f"the stream ended {says}"):
            await make_offer(proxy)
    assert len(proxy.connects) == 2


@pytest.mark.parametrize("sent", [50, 80, 9000])
async def test_a_stream_that_breaks_once_is_no_lie(sent: int) -> None:
    server = FakeServer()
    broken = FakeServer(twist_stored=lambda reply: reply[:sent])
    broken_later = FakeServer(twist_fetched=lambda reply: reply[:sent])
    broken_later.bucket_id, broken_later.link = server.bucket_id, server.link
    async with RecordingSocks([broken, server, broken_later, server]) as proxy:
        await make_offer(proxy)
    assert len(proxy.connects) == 4


async def test_no_socks_port() -> None:
    async with RecordingSocks([1]) as proxy:
        gone = proxy.socks
    with pytest.raises(errors.NoTor, match="nothing answers"):
        await offer(LINK, PASSPHRASE, SERVER, gone, limits=Limits(), timeout=5, step=lambda _: None)


async def test_an_unknown_bucket() -> None:
    invite = Invite(KEY, 80, bytes(16), bytes(16))
    async with RecordingSocks([FakeServer()]) as proxy:
        with pytest.raises(errors.BucketUnknown):
            await Acceptance(invite, proxy.socks, timeout=5, step=print).open(PASSPHRASE)


@pytest.mark.parametrize(
    "text",
    ["", "example.org", "127.0.0.1", "expyuzz4wqqyqhjn.onion", encode_onion_address(KEY) + ":0"]
    + [encode_onion_address(KEY) + suffix for suffix in (":", ":x", ":65536", ":²", ":080", ":" + "9" * 5000, "/v1")],
)
def test_only_v3_onion_addresses_are_servers(text: str) -> None:
    with pytest.raises(errors.MalformedOnionAddress):
        RendezvousServer.parse(text)


def test_servers_are_written_as_they_are_read() -> None:
    address = encode_onion_address(KEY)
    assert str(RendezvousServer.parse(address.upper())) == address
    assert str(RendezvousServer.parse(f"{address}:80")) == address
    assert str(RendezvousServer.parse(f" {address}:8080\n")) == f"{address}:8080"


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    ("shares", "answers", "circuits"),
    [
        ([0.2], [SILENCE, "serve"], 3),
        ([None, 0.2], ["serve", SILENCE, "serve"], 3),
        ([None, None, 0.2], ["hush", "serve"], 3),
        ([None, None, None, 0.2], ["serve", "hush", "serve"], 3),
    ],
    ids=["no stream to store", "no stream to fetch", "no reply to the store", "no reply to the fetch"],
)
async def test_what_goes_silent_is_given_up_for_another_circuit(
    shares: list[float | None], answers: list[Any], circuits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer()
    given = iter(shares)  # for two streams that are opened ahead, and then for each try
    monkeypatch.setattr(socks, "share", lambda _: next(given, None))
    handlers: dict[Any, Any] = {"serve": server, "hush": say_nothing}
    async with RecordingSocks([handlers.get(answer, answer) for answer in answers]) as proxy:
        await make_offer(proxy)
    assert len({request.credentials for request in proxy.connects}) == circuits
    assert len(server.requests) == 2
    assert next(given, "all were asked for") == "all were asked for"


async def test_an_offer_opens_both_of_its_streams_at_once() -> None:
    """The second is there before the first is used; what nobody used is ended."""
    server = FakeServer(number=99)
    waiting: list[asyncio.StreamReader] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(reader)
        while len(waiting) < 2:
            await asyncio.sleep(0.01)
        if reader is waiting[0]:
            await server(reader, writer)
        else:
            assert await reader.read() == b""
            ended.set()

    ended = asyncio.Event()
    async with RecordingSocks([serve]) as proxy:
        with pytest.raises(errors.ServerCheckFailed, match="number 99"):
            await make_offer(proxy)
        await asyncio.wait_for(ended.wait(), 20)
    assert len(server.requests) == 1


async def test_a_stream_that_ended_before_it_was_needed_is_replaced() -> None:
    server = FakeServer()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung_up.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung_up.wait()
        await server(reader, writer)

    hung_up = asyncio.Event()
    async with RecordingSocks([serve, hang_up, serve]) as proxy:
        await make_offer(proxy)
    assert len(proxy.connects) == 3
    assert len(server.requests) == 2


async def test_nobody_waits_idle_at_a_busy_server() -> None:
    server = FakeServer(twist_stored=lambda _: problem_reply(Problem.BUSY))
    ended = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        ended.set()
        server.twist_stored = lambda reply: reply

    async with RecordingSocks([server, wait, server]) as proxy:
        await make_offer(proxy)
    assert ended.is_set()
    assert len(proxy.connects) == 4
