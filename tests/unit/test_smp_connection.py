"""A connection to a messaging server: with an honest one, and with every sort of one that is not."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from certificates import issue
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smp_peer import CA, HOST, LEAF, SmpPeer, Talk, answer_pings
from socks_proxy import DOMAIN_NAME, RecordingSocks

from onion_rdv.errors import (
    MalformedBlock,
    MessagingCheckFailed,
    MessagingIdentityDiffers,
    MessagingRefused,
    MessagingServerSilent,
    MessagingServerUnreachable,
    MessagingVersionUnknown,
    NoTor,
    QueueFull,
    QueueRefused,
    RdvError,
)
from onion_rdv.smp.client import SenderQueue, SmpConnection, ping, send
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, PlainBlocks
from onion_rdv.smp.wire.encoding import Versions
from onion_rdv.smp.wire.replies import Err, Ok, Pong
from onion_rdv.smp.wire.transmissions import Transmission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from onion_rdv.smp.wire.hello import ServerHello

ONION = "b" * 56 + ".onion"
TIMEOUT = 20.0


@asynccontextmanager
async def connected(peer: SmpPeer, timeout: float = TIMEOUT) -> AsyncIterator[SmpConnection]:
    """Connect, and close at the end."""
    async with (
        RecordingSocks([peer]) as proxy,
        await SmpConnection.connect(proxy.socks, peer.server, timeout=timeout) as connection,
    ):
        yield connection


async def ping_once(peer: SmpPeer, timeout: float = TIMEOUT) -> SmpConnection:
    """Connect, ask once, and close; gives the connection that was."""
    async with connected(peer, timeout) as connection:
        await ping(connection)
    return connection


async def refused(peer: SmpPeer, error: type[RdvError], match: str, timeout: float = TIMEOUT) -> RdvError:
    """See that a connection ends in this error."""
    with pytest.raises(error, match=match) as caught:
        await ping_once(peer, timeout)
    assert caught.value.message.isprintable()
    return caught.value


async def test_an_honest_server_answers() -> None:
    peer = SmpPeer()
    connection = await ping_once(peer)
    assert connection.session.version == 18
    assert connection.session.identity == peer.server.key_hash
    assert peer.names == [None]  # no SNI
    assert peer.client_hellos[0].key_hash == peer.server.key_hash


@pytest.mark.parametrize("greatest", [15, 16, 17, 18, 19, 40])
async def test_the_greatest_common_version_is_spoken(greatest: int) -> None:
    connection = await ping_once(SmpPeer(versions=Versions(6, greatest)))
    assert connection.session.version == min(greatest, 18)


async def test_hosts_are_named_to_tor_and_onions_preferred() -> None:
    peer = SmpPeer()
    server = SmpServer(peer.server.key_hash, (HOST, ONION), 7001)
    async with RecordingSocks([peer]) as proxy:
        for _ in range(2):
            async with await SmpConnection.connect(proxy.socks, server, timeout=TIMEOUT) as connection:
                await ping(connection)
    assert {(one.address_type, one.host, one.port) for one in proxy.connects} == {(DOMAIN_NAME, ONION, 7001)}
    assert len({one.credentials for one in proxy.connects}) == 2  # a circuit each


async def test_a_later_server_may_say_more_in_its_hello() -> None:
    await ping_once(SmpPeer(versions=Versions(15, 19), alter_hello=lambda hello: hello.encode() + b"more"))


async def test_tor_that_is_not_there() -> None:
    async with RecordingSocks([0]) as proxy:
        gone = proxy.socks
    with pytest.raises(NoTor, match="nothing answers at the SOCKS port"):
        await SmpConnection.connect(gone, SmpPeer().server, timeout=5)


@pytest.mark.parametrize(("code", "says", "tries"), [(5, "nothing listens", 1), (0xF4, "wants client", 1)])
async def test_refusals_of_tor(code: int, says: str, tries: int) -> None:
    async with RecordingSocks([code]) as proxy:
        with pytest.raises(MessagingServerUnreachable, match=says) as caught:
            await SmpConnection.connect(proxy.socks, SmpPeer().server, timeout=TIMEOUT)
    assert len(proxy.connects) == tries
    assert caught.value.exit_code == 8


# Who is there


async def test_another_server() -> None:
    other = issue("another CA")
    peer = SmpPeer(chain=(LEAF, other))
    error = await refused(peer, MessagingIdentityDiffers, "the fingerprint of its certificate is another one")
    assert error.exit_code == 7
    assert peer.client_hellos == []  # nothing was said to it


async def test_a_leaf_that_the_ca_has_not_issued() -> None:
    leaf = issue("test server", issue("test CA"))
    await refused(SmpPeer(tls=leaf, chain=(leaf, CA)), MessagingIdentityDiffers, "was not issued by the one")


async def test_a_hello_copied_from_the_right_server() -> None:
    impostor = issue("test server", issue("test CA"))
    await refused(SmpPeer(tls=impostor), MessagingIdentityDiffers, "another certificate than its hello shows")


async def test_a_hello_from_another_connection() -> None:
    peer = SmpPeer(alter_hello=lambda hello: replace(hello, session_id=bytes(32)).encode())
    await refused(peer, MessagingIdentityDiffers, "the channel binding differs")


async def test_a_session_key_that_the_leaf_has_not_signed() -> None:
    def alter(hello: ServerHello) -> bytes:
        return replace(hello, signed_key=hello.signed_key[:-1] + bytes([hello.signed_key[-1] ^ 1])).encode()

    await refused(SmpPeer(alter_hello=alter), MessagingIdentityDiffers, "the signature on its session key is wrong")


@pytest.mark.parametrize(("since", "until"), [(-20, -10), (10, 20)])
async def test_a_certificate_of_another_time(since: int, until: int) -> None:
    leaf = issue("test server", CA, since=timedelta(days=since), until=timedelta(days=until))
    error = await refused(SmpPeer(tls=leaf, chain=(leaf, CA)), MessagingCheckFailed, "is not valid at this time")
    assert error.hint.startswith("look whether this machine's clock is right")


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_chain_of_the_wrong_length(count: int) -> None:
    def alter(hello: ServerHello) -> bytes:
        return replace(hello, certificates=(hello.certificates * 3)[:count]).encode()

    await refused(SmpPeer(alter_hello=alter), MessagingCheckFailed, f"has {count} certificates, not 2, 3 or 4")


async def test_a_certificate_with_a_key_of_another_kind() -> None:
    leaf = issue("test server", CA, key=rsa.generate_private_key(65537, 2048))

    def alter(hello: ServerHello) -> bytes:
        return replace(hello, certificates=(leaf.der, CA.der)).encode()

    await refused(SmpPeer(tls=leaf, alter_hello=alter), MessagingCheckFailed, "a kind that SMP does not use")


async def test_the_identity_is_not_asked_for_where_no_link_names_it() -> None:
    peer = SmpPeer()
    async with RecordingSocks([peer]) as proxy:
        anybody = SmpServer(b"", (HOST,))
        async with await SmpConnection.connect(proxy.socks, anybody, timeout=TIMEOUT) as connection:
            assert connection.session.identity == peer.server.key_hash


# Hellos that are none


@pytest.mark.parametrize(("least", "greatest"), [(6, 14), (19, 24)])
async def test_no_version_in_common(least: int, greatest: int) -> None:
    peer = SmpPeer(versions=Versions(least, greatest))
    error = await refused(peer, MessagingVersionUnknown, f"it speaks {least} to {greatest}")
    assert error.exit_code == 8


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda hello: hello.encode()[:-1], "it is cut short"),
        (lambda hello: hello.encode() + b"x", "there is more than belongs there"),
        (lambda _: b"", "it is cut short"),
        (lambda hello: b"\0\x12\0\x0f" + hello.encode()[4:], "upside down"),
        (lambda hello: replace(hello, certificates=(b"x", CA.der)).encode(), "a certificate in it cannot be read"),
        (lambda hello: replace(hello, signed_key=b"x").encode(), "its key cannot be read"),
    ],
)
async def test_a_malformed_hello(alter: Callable[[ServerHello], bytes], says: str) -> None:
    assert (await refused(SmpPeer(alter_hello=alter), MalformedBlock, says)).exit_code == 7


async def test_a_hello_that_never_comes() -> None:
    async def wait(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    await refused(SmpPeer(before_hello=wait), MessagingServerSilent, "no answer within", timeout=3)


async def test_a_hello_that_is_cut_off() -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 1000)
        await writer.drain()
        writer.close()
        raise ConnectionResetError

    await refused(SmpPeer(before_hello=hang_up), MessagingServerSilent, "ended before its hello was over")


async def test_what_is_no_tls() -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 \r\n\r\n")
        await writer.drain()

    async with RecordingSocks([say]) as proxy:
        with pytest.raises(MessagingServerSilent, match="ended before its hello was over"):
            await SmpConnection.connect(proxy.socks, SmpPeer().server, timeout=TIMEOUT)


# After the hellos


async def test_a_server_that_closes_without_a_word() -> None:
    async def close(talk: Talk) -> None:
        await talk.receive()

    await refused(SmpPeer(then=close), MessagingServerSilent, "the connection has ended")


async def test_a_server_that_does_not_answer() -> None:
    async def wait(_: Talk) -> None:
        await asyncio.sleep(60)

    await refused(SmpPeer(then=wait), MessagingServerSilent, "no answer within", timeout=3)


async def test_a_block_that_is_cut_short() -> None:
    async def cut(talk: Talk) -> None:
        await talk.receive()
        await talk.send_bytes(talk.blocks.seal(b"\1\0\0")[:5000])

    await refused(SmpPeer(then=cut), MessagingServerSilent, "the connection has ended")


async def test_a_block_in_no_box() -> None:
    async def garble(talk: Talk) -> None:
        await talk.receive()
        await talk.send_bytes(os.urandom(BLOCK_SIZE))

    await refused(SmpPeer(then=garble), MalformedBlock, "a block: it does not open")


async def test_a_block_that_comes_twice() -> None:
    async def repeat(talk: Talk) -> None:
        ((transmission, _),) = await talk.receive()
        block = talk.blocks.seal(b"\1" + _large(talk.reply(transmission, Pong()).encode(18)))
        await talk.send_bytes(block + block)
        await talk.receive()

    async with connected(SmpPeer(then=repeat)) as connection:
        await ping(connection)
        with pytest.raises(MalformedBlock, match="does not open"):
            await connection.next_push()
        with pytest.raises(MalformedBlock, match="does not open"):
            await ping(connection)


def _large(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "a block: it is cut short"),
        (b"\0", "there is nothing in it"),
        (b"\1\0\x05abc", "it is cut short"),
        (b"\1" + _large(b"\0\0\0PONG") + b"x", "there is more than belongs there"),
        (b"\1" + _large(b"\0\0\0"), "it is none that SMP knows"),
        (b"\1" + _large(b"\0\0\0PONG "), "there is more than belongs there"),
        (b"\1" + _large(b"\0\0\0NONSENSE"), "it is none that SMP knows"),
        (b"\1" + _large(b"\0\0\0ERR \x1b[2J"), "its error has no name"),
        (b"\1" + _large(b"\x40" + bytes(64) + b"0\0\0PONG"), "signed"),
        (b"\1" + _large(b"\0\x18" + b"?" * 24 + b"\0PONG"), "it answers what nobody asked"),
    ],
)
async def test_malformed_blocks(data: bytes, says: str) -> None:
    async def say(talk: Talk) -> None:
        await talk.receive()
        await talk.send_data(data)
        await talk.receive()

    await refused(SmpPeer(then=say), MalformedBlock, says)


async def test_an_answer_about_another_queue() -> None:
    async def mix_up(talk: Talk) -> None:
        ((transmission, _),) = await talk.receive()
        await talk.send(replace(talk.reply(transmission, Pong()), entity_id=bytes(24)))
        await talk.receive()

    await refused(SmpPeer(then=mix_up), MalformedBlock, "it is about another queue")


async def test_an_answer_of_another_sort() -> None:
    async def agree(talk: Talk) -> None:
        ((transmission, _),) = await talk.receive()
        await talk.send(talk.reply(transmission, Ok()))
        await talk.receive()

    await refused(SmpPeer(then=agree), MalformedBlock, "it answers something else")


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("AUTH", QueueRefused, "has no such queue or link, or does not let us use it"),
        ("BLOCKED reason=spam", QueueRefused, "its operator has blocked it"),
        ("QUOTA", QueueFull, "is full"),
        ("LARGE_MSG", MessagingRefused, "the message is too large"),
        ("CMD PROHIBITED", MessagingRefused, "does not know or allow such a command"),
        ("STORE disk on fire", MessagingRefused, "its store has a fault"),
        ("SOMETHING_NEW", MessagingRefused, "not known here"),
    ],
)
async def test_refusals_of_the_server(code: str, error: type[MessagingRefused], says: str) -> None:
    async def refuse(talk: Talk) -> None:
        while True:
            ((transmission, _),) = await talk.receive()
            await talk.send(talk.reply(transmission, Err(code)))

    async with connected(SmpPeer(then=refuse)) as connection:
        for _ in range(2):  # the connection goes on
            with pytest.raises(error, match=says) as caught:
                await send(connection, SenderQueue(bytes(24), None), b"a message")
    assert (caught.value.exit_code, caught.value.code) == (8, code)
    assert "fire" not in caught.value.message


async def test_an_error_that_belongs_to_no_request_ends_the_connection() -> None:
    async def refuse(talk: Talk) -> None:
        await talk.receive()
        await talk.send(Transmission(b"", b"", Err("BLOCK").encode(18)))
        await talk.receive()

    await refused(SmpPeer(then=refuse), MessagingRefused, "it cannot take apart what we send")


async def test_messages_that_nobody_waits_for_do_not_pile_up() -> None:
    async def flood(talk: Talk) -> None:
        while True:
            await talk.send(*[Transmission(b"", bytes(24), b"END")] * 50)

    async with connected(SmpPeer(then=flood)) as connection:
        async with asyncio.timeout(TIMEOUT):
            while connection.failure is None:
                await asyncio.sleep(0.01)
        assert "without waiting" in connection.failure.message


async def test_whoever_gives_up_waiting_disturbs_nobody_else() -> None:
    go_on = asyncio.Event()

    async def answer_late(talk: Talk) -> None:
        first = await talk.receive()
        await go_on.wait()
        for transmission, _ in first:
            await talk.send(talk.reply(transmission, Pong()))
        await answer_pings(talk)

    async with connected(SmpPeer(then=answer_late)) as connection:
        asking = asyncio.create_task(ping(connection))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait([asking])
        go_on.set()
        await ping(connection)


async def test_closing_ends_what_is_under_way() -> None:
    async def wait(_: Talk) -> None:
        await asyncio.sleep(60)

    async with RecordingSocks([SmpPeer(then=wait)]) as proxy:
        connection = await SmpConnection.connect(proxy.socks, SmpPeer().server, timeout=TIMEOUT)
        asking = [asyncio.create_task(ping(connection)), asyncio.create_task(connection.next_push())]
        await asyncio.sleep(0.05)
        await connection.close()
        results = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(result, MessagingServerSilent) for result in results)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda rest: b"\1" + _large(b"\0\0\0" + rest)))
async def test_no_bytes_bring_anything_but_an_error_of_ours(data: bytes) -> None:
    async def say(talk: Talk) -> None:
        await talk.receive()
        await talk.send_data(data)

    try:
        await ping_once(SmpPeer(then=say))
    except RdvError as error:
        assert error.exit_code in {7, 8}  # noqa: PT017
        assert error.message.isprintable()  # noqa: PT017


async def test_plain_hellos_have_the_size_of_a_block() -> None:
    assert len(PlainBlocks().seal(b"")) == BLOCK_SIZE
