"""One POST over a stream through tor that is open already, by aiohttp.

This is a module of its own because aiohttp takes longer to load than a quiet network to build a circuit: it is loaded
while a circuit is being built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import ContentLengthError
from aiohttp_socks import ProxyConnector

from onion_rdv.errors import MalformedReply, ReplyLost
from onion_rdv.protocol.exchange import BUCKET_TYPE, REPLY_BODY_SIZE

if TYPE_CHECKING:
    import asyncio
    from ssl import SSLContext

    from onion_rdv.client.streams import Stream
    from onion_rdv.tor.socks import SocksPort


_MOST_OF_A_REPLY = 2**20
"""Bytes of a reply that are taken, some sixty times what one has: a head or a chunk's framing may have no end."""


class _Reading(ResponseHandler):
    """aiohttp's reader of replies, which hangs up on a server that says too much."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._left = _MOST_OF_A_REPLY

    @property
    def has_had_enough(self) -> bool:
        """Whether that has happened."""
        return self._left < 0

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if not self.has_had_enough:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.abort()


class _Connector(ProxyConnector):
    """aiohttp-socks's connector, for which one stream through the SOCKS port is open already; there is no other."""

    def __init__(self, socks: SocksPort, stream: Stream) -> None:
        super().__init__(socks.host, socks.port, rdns=True)
        self._stream: Stream | None = stream
        self.reading = _Reading(self._loop)

    async def _connect_via_proxy(  # the place that aiohttp-socks has for each kind of way through a proxy
        self,
        host: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        ssl: SSLContext | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        stream, self._stream = self._stream, None
        if stream is None:
            raise ReplyLost("the stream ended before there was a reply")
        reader, writer = stream
        protocol = self.reading
        writer.transport.set_protocol(protocol)
        protocol.connection_made(writer.transport)
        reader.feed_eof()  # what came before anything was asked for is all that it has now
        if early := await reader.read():
            protocol.data_received(early)
        return cast("asyncio.Transport", writer.transport), protocol


async def post(
    socks: SocksPort, stream: Stream, url: str, body: bytes, silence: float | None
) -> tuple[int, str, bytes]:
    """Send a body over ``stream``, which came through ``socks``; gives the status, the media type and the body.

    Gives up where nothing arrives for ``silence`` seconds. The stream is not ended. Raises
    :class:`~onion_rdv.errors.ReplyLost` and :class:`~onion_rdv.errors.MalformedReply`.
    """
    connector = _Connector(socks, stream)
    try:
        async with (
            _session(connector, silence) as session,
            session.post(
                url, data=body, headers={"Content-Type": "application/octet-stream"}, allow_redirects=False
            ) as reply,
        ):
            return reply.status, _media_type(reply), await _read_body(reply)
    except aiohttp.SocketTimeoutError:
        raise ReplyLost("the stream went silent before there was a reply") from None
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise _fault(error, is_too_long=connector.reading.has_had_enough) from None


def _fault(error: Exception, *, is_too_long: bool) -> MalformedReply | ReplyLost:
    if is_too_long:
        return MalformedReply("it is far longer than any reply")
    if not isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError | aiohttp.InvalidURL):
        return ReplyLost("the stream ended before there was a reply")
    if isinstance(error.__cause__, ContentLengthError):  # streams break off without anybody's ill will too
        return ReplyLost("the stream ended in the middle of the reply")
    return MalformedReply("it is not HTTP as the protocol wants it")


def _session(connector: _Connector, silence: float | None) -> aiohttp.ClientSession:
    """Make a session that sends nothing of its own accord, follows nothing and remembers nothing."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers={"Accept", "Accept-Encoding", "User-Agent"},
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_read=silence),  # the deadline covers every try together
    )


def _media_type(reply: aiohttp.ClientResponse) -> str:
    """Give the media type without its parameters, as it stands there: aiohttp has a better opinion of wrong ones."""
    said = ", ".join(reply.headers.getall("Content-Type", [BUCKET_TYPE]))
    return said.partition(";")[0].strip().lower()


async def _read_body(reply: aiohttp.ClientResponse) -> bytes:
    """Read a body, but never more than one byte too much."""
    body = bytearray()
    while len(body) <= REPLY_BODY_SIZE:
        piece = await reply.content.read(REPLY_BODY_SIZE + 1 - len(body))
        if not piece:
            break
        body += piece
    return bytes(body)
