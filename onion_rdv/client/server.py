"""A rendezvous server as a client sees it: an onion address and a port, and two requests over Tor."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from onion_rdv.client.patience import Patience
from onion_rdv.client.streams import Streams
from onion_rdv.errors import (
    ClientAuthorizationNeeded,
    MalformedOnionAddress,
    OnionServiceNotFound,
    ReplyLost,
    ServerBusy,
    ServerUnreachable,
    StreamFailed,
)
from onion_rdv.protocol import DEFAULT_PORT, BucketId, decode_onion_address, encode_onion_address
from onion_rdv.protocol.exchange import (
    FETCH_PADDING_SIZE,
    FETCH_PATH,
    STORE_PATH,
    fetch_body,
    read_bucket,
    read_stored,
    store_body,
)
from onion_rdv.protocol.onion import authority
from onion_rdv.tor import socks as tor_socks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from onion_rdv.client.streams import Stream
    from onion_rdv.tor.socks import SocksPort

    Post = Callable[[SocksPort, Stream, str, bytes, float | None], Awaitable[tuple[int, str, bytes]]]

_PORT = re.compile("[1-9][0-9]{0,4}")

_PAUSES = (0.5, 1, 2, 3, 5)
"""Seconds to wait before the next try, so that a descriptor has time to arrive where it is looked for."""


_STORE_TRIES = 2
"""How often to store where the reply is lost: each time there may be an entry more that nobody will open."""


@dataclass(frozen=True, slots=True)
class RendezvousServer:
    """Where a rendezvous server is: the 32-byte key in its onion address, and its port."""

    onion_key: bytes
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``ADDRESS.onion`` or ``ADDRESS.onion:PORT``.

        Raises :class:`~onion_rdv.errors.MalformedOnionAddress` for everything that is not a v3 onion address.
        """
        host, colon, port = text.strip().partition(":")
        onion_key = decode_onion_address(host)
        if colon and not (_PORT.fullmatch(port) and int(port) < 2**16):
            raise MalformedOnionAddress("what follows the colon is no port number")
        return cls(onion_key, int(port) if colon else DEFAULT_PORT)

    @property
    def host(self) -> str:
        """The onion address."""
        return encode_onion_address(self.onion_key)

    def __str__(self) -> str:
        return authority(self.host, self.port)


def _tell_nobody(what: str) -> None:
    """Say nothing."""


class RendezvousClient:
    """The two requests of the protocol; each try of each request has a circuit of its own."""

    def __init__(
        self, socks: SocksPort, server: RendezvousServer, timeout: float, tell: Callable[[str], None] = _tell_nobody
    ) -> None:
        """Reach ``server`` through tor's ``socks`` port, giving each request ``timeout`` seconds in all.

        A server that is busy is asked again within this time; ``tell`` is then told so in a few words.
        """
        self._socks = socks
        self._server = server
        self._streams = Streams(socks, server.host, server.port)
        self._timeout = timeout
        self._tell = tell
        self._posting: asyncio.Task[Post] | None = None
        tor_socks.get_ready()

    @asynccontextmanager
    async def ahead(self, requests: int) -> AsyncIterator[None]:
        """Open streams for so many requests, which will be made in the block: the first try of each needs not wait.

        Each is a circuit of its own all the same.
        """
        for _ in range(requests):
            self._streams.open_ahead(tor_socks.share(self._timeout) or self._timeout)
        self._load_aiohttp()
        try:
            yield
        finally:
            await self._streams.forget()

    async def store(self, seal: Callable[[], Awaitable[bytes]]) -> tuple[BucketId, bytes]:
        """Leave an entry; gives the id and the 16,384 bytes of the bucket that it is said to be in.

        ``seal`` is called before each try, for an entry that was never sent before: the last may have arrived, and
        the same bytes twice would fail the check. Raises :class:`~onion_rdv.errors.ReplyLost` where it may have been
        stored without our hearing of it, :class:`~onion_rdv.errors.ServerUnreachable` and
        :class:`~onion_rdv.errors.ServerCheckFailed` with their kinds, or :class:`~onion_rdv.errors.NoTor`.
        """
        patience = Patience(self._timeout, self._tell)
        replies_lost = 0
        while True:
            body = store_body(await seal())
            try:
                return read_stored(*await self._post(STORE_PATH, body, patience.deadline))
            except ServerBusy as busy:
                await self._streams.forget()  # nobody is to wait idle at a busy server
                await patience.outlast(busy)
            except ReplyLost:
                replies_lost += 1
                if replies_lost == _STORE_TRIES:
                    raise
            except ServerUnreachable as error:
                raise patience.end(error) from None

    async def fetch(self, link: bytes) -> bytes:
        """Get the 16,384 bytes of the bucket with this 16-byte link.

        Raises :class:`~onion_rdv.errors.BucketUnknown`, and otherwise as :meth:`store` does.
        """
        patience = Patience(self._timeout, self._tell)
        replies_lost = 0
        while True:
            body = fetch_body(link, secrets.token_bytes(FETCH_PADDING_SIZE))
            try:
                return read_bucket(*await self._post(FETCH_PATH, body, patience.deadline))
            except ServerBusy as busy:
                await patience.outlast(busy)
            except ReplyLost:
                pause = _pause(replies_lost)
                replies_lost += 1
                if time.monotonic() + pause >= patience.deadline:
                    raise
                await asyncio.sleep(pause)
            except ServerUnreachable as error:
                raise patience.end(error) from None

    async def _post(self, path: str, body: bytes, deadline: float) -> tuple[int, str, bytes]:
        """Post until there is a reply, it was lost, a refusal that will not change, or no time left."""
        tries = 0
        while True:
            try:
                return await self._try_to_post(path, body, deadline)
            except StreamFailed as error:
                failure = _name_failure(error)
                final = error.code in tor_socks.FINAL
                await self._streams.forget()  # they may have met the same
            pause = _pause(tries)
            tries += 1
            # The time-out bounds the person's wait. A service that is not there is looked for a few times only.
            not_there = isinstance(failure, OnionServiceNotFound) and tries > len(_PAUSES)
            if final or not_there or time.monotonic() + pause >= deadline:
                raise failure from None
            await asyncio.sleep(pause)

    async def _try_to_post(self, path: str, body: bytes, deadline: float) -> tuple[int, str, bytes]:
        left = deadline - time.monotonic()
        share = tor_socks.share(left)
        try:
            async with asyncio.timeout(left):
                posting = self._load_aiohttp()
                stream = await self._streams.take(share or self._timeout)
                try:
                    post = await posting
                    return await post(self._socks, stream, f"http://{self._server}{path}", body, share)
                finally:
                    await tor_socks.end_stream(stream[1])
        except TimeoutError:
            raise ServerUnreachable(f"there was no reply within {self._timeout:.0f} seconds") from None

    def _load_aiohttp(self) -> asyncio.Task[Post]:
        """Begin to load what speaks HTTP, beside all that is waited for, if that was not done yet."""
        if self._posting is None:
            self._posting = asyncio.create_task(asyncio.to_thread(_load_post))
        return self._posting


def _load_post() -> Post:
    from onion_rdv.client.posting import post

    return post


def _pause(tries: int) -> float:
    return _PAUSES[min(tries, len(_PAUSES) - 1)]


def _name_failure(error: StreamFailed) -> ServerUnreachable:
    match error.code:
        case tor_socks.AUTHORIZATION_MISSING:
            return ClientAuthorizationNeeded()
        case tor_socks.AUTHORIZATION_WRONG:
            return ClientAuthorizationNeeded(error.detail)
        case tor_socks.NOT_PUBLISHED:
            return OnionServiceNotFound()
    return ServerUnreachable(error.detail)
