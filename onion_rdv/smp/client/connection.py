"""A connection to a messaging server: requests with their answers, and what the server says by itself."""

from __future__ import annotations

import asyncio
import copy
import secrets
import ssl
import time
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Self

from onion_rdv.errors import (
    MalformedBlock,
    MessagingServerSilent,
    MessagingServerUnreachable,
    RdvError,
    StreamFailed,
)
from onion_rdv.smp.client import session as sessions
from onion_rdv.smp.client.refusals import refusal
from onion_rdv.smp.wire.blocks import BLOCK_SIZE
from onion_rdv.smp.wire.replies import Err, parse_reply
from onion_rdv.smp.wire.transmissions import CORRELATION_ID_SIZE, Transmission, authorizer, batches, split
from onion_rdv.tor.socks import end_stream, open_stream_patiently

if TYPE_CHECKING:
    from onion_rdv.smp.client.session import Session
    from onion_rdv.smp.wire.address import SmpServer
    from onion_rdv.smp.wire.commands import Command
    from onion_rdv.smp.wire.keys import PrivateKey
    from onion_rdv.smp.wire.replies import Reply
    from onion_rdv.tor.socks import SocksPort

_BROKEN: Final = (ssl.SSLError, OSError, asyncio.IncompleteReadError)
_MOST_WAITING: Final = 256
"""Messages that may wait here to be taken; a server that sends more without being asked is cut off."""


class Push(NamedTuple):
    """What a server says by itself: a message from a queue, or the end of a subscription."""

    entity_id: bytes
    reply: Reply


class _Pending(NamedTuple):
    entity_id: bytes
    answer: asyncio.Future[Reply]


class SmpConnection:
    """An open connection, on a circuit of its own; made with :meth:`connect`, ended with :meth:`close`.

    It ends by itself when the server does anything that SMP does not allow, or leaves a request unanswered for too
    long. Then every request under way, and every later one, raises the reason, which is ``failure`` too.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session, timeout: float
    ) -> None:
        self.session = session
        self.failure: RdvError | None = None
        self._reader = reader
        self._writer = writer
        self._timeout = timeout
        self._pending: dict[bytes, _Pending] = {}
        self._pushed: asyncio.Queue[Push | None] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, socks: SocksPort, server: SmpServer, *, timeout: float) -> Self:
        """Connect through Tor, and check that the server is the one that is meant.

        ``timeout`` (seconds) bounds this, and later each request. Raises :class:`~onion_rdv.errors.NoTor`,
        :class:`~onion_rdv.errors.MessagingServerUnreachable` and :class:`~onion_rdv.errors.MessagingCheckFailed`
        with their kinds. Nothing is ever sent to a host but through Tor, nor to any host but ``server.host``.
        """
        deadline = time.monotonic() + timeout
        try:
            stream = await open_stream_patiently(socks, server.host, server.port, timeout)
        except StreamFailed as error:
            raise MessagingServerUnreachable(error.detail) from None
        return await cls.over(stream, server, deadline=deadline, timeout=timeout)

    @classmethod
    async def over(
        cls,
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: SmpServer,
        *,
        deadline: float,
        timeout: float,
    ) -> Self:
        """Begin on a stream that is open, until ``deadline`` (monotonic clock); see :meth:`connect`."""
        reader, writer = stream
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                session = await sessions.begin(reader, writer, server)
        except TimeoutError:
            await end_stream(writer)
            raise _too_late(timeout) from None
        except _BROKEN:
            await end_stream(writer)
            raise MessagingServerSilent("the connection ended before its hello was over") from None
        except BaseException:
            await end_stream(writer)
            raise
        return cls(reader, writer, session, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self,
        command: Command,
        *,
        entity_id: bytes = b"",
        key: PrivateKey | None = None,
        correlation_id: bytes | None = None,
    ) -> Reply:
        """Ask something, authorized with ``key`` where that is needed; gives the answer.

        Raises :class:`~onion_rdv.errors.MessagingRefused` and its kinds where the answer is an error, and otherwise
        the reason for which the connection has ended.
        """
        correlation_id = correlation_id or secrets.token_bytes(CORRELATION_ID_SIZE)
        session = self.session
        transmission = Transmission(correlation_id, entity_id, command.encode(session.version))
        if key is not None:
            transmission = authorizer(key, session.server_key)(transmission, session.session_id)
        self._raise_failure()
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[correlation_id] = _Pending(entity_id, answer)
        try:
            async with asyncio.timeout(self._timeout):
                for data in batches([transmission.encode(session.version)]):
                    self._writer.write(session.blocks.seal(data))
                await self._writer.drain()
                reply = await answer
        except TimeoutError:
            self._fail(_too_late(self._timeout))
        except _BROKEN:
            self._fail(_ended())
        if isinstance(reply, Err):
            raise refusal(reply.code)
        return reply

    async def next_push(self) -> Push:
        """Wait for what the server says by itself; raises the reason once the connection has ended.

        What was said before the end comes first.
        """
        push = await self._pushed.get()
        if push is None:
            self._pushed.put_nowait(None)  # for whoever asks next
            self._raise_failure()
            raise _ended()
        return push

    def put_back(self, push: Push) -> None:
        """Treat as said by the server itself what came as an answer: a message can do that."""
        self._pushed.put_nowait(push)

    async def close(self) -> None:
        """Close the connection; what is under way is given up."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._end(_ended())
        await end_stream(self._writer)

    async def _read(self) -> None:
        try:
            while True:
                block = await self._reader.readexactly(BLOCK_SIZE)
                for part in split(self.session.blocks.open(block)):
                    self._take(Transmission.decode(part, self.session.version))
        except RdvError as error:
            self._end(error)
        except _BROKEN:
            self._end(_ended())

    def _take(self, transmission: Transmission) -> None:
        if transmission.authorization:
            raise MalformedBlock("a reply: it is signed, which no server does")
        reply = parse_reply(transmission.command, self.session.version)
        if not transmission.correlation_id:
            if isinstance(reply, Err):
                raise refusal(reply.code)  # of something that it could not even take apart
            if self._pushed.qsize() >= _MOST_WAITING:
                raise MalformedBlock("it sends messages without waiting for their acknowledgement")
            self._pushed.put_nowait(Push(transmission.entity_id, reply))
            return
        pending = self._pending.get(transmission.correlation_id)
        if pending is None:
            raise MalformedBlock("a reply: it answers what nobody asked")
        if transmission.entity_id != pending.entity_id and not isinstance(reply, Err):
            raise MalformedBlock("a reply: it is about another queue than was asked for")
        del self._pending[transmission.correlation_id]
        if not pending.answer.done():  # else whoever asked has gone
            pending.answer.set_result(reply)

    def _fail(self, error: RdvError) -> NoReturn:
        self._end(error)
        self._reading.cancel()
        raise error from None

    def _end(self, error: RdvError) -> None:
        """Tell everybody who waits; the first reason counts."""
        self.failure = self.failure or error
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(copy.copy(self.failure))
        self._pending.clear()
        self._pushed.put_nowait(None)
        self._writer.transport.abort()

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise copy.copy(self.failure)  # one that is raised again and again would collect tracebacks


def _too_late(timeout: float) -> MessagingServerSilent:
    return MessagingServerSilent(f"no answer within {timeout:.0f} seconds")


def _ended() -> MessagingServerSilent:
    return MessagingServerSilent("the connection has ended")
