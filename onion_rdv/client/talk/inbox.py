"""This end's own queue: made, listened to for as long as the talk lasts, and erased."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

from onion_rdv.client.talk.events import Disconnected, NotErased, Reconnected, Way
from onion_rdv.client.talk.line import Line
from onion_rdv.errors import MessagingRefused, MessagingServerSilent, QueueRefused, RdvError
from onion_rdv.smp.client import acknowledge, create_queue, delete, ping, subscribe
from onion_rdv.smp.wire.envelopes import Envelope
from onion_rdv.smp.wire.replies import Deleted, End, Msg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onion_rdv.client.talk.events import Event
    from onion_rdv.smp.client import Push, RecipientQueue, SmpConnection
    from onion_rdv.smp.wire.address import SmpServer
    from onion_rdv.smp.wire.commands import LinkData
    from onion_rdv.smp.wire.keys import PrivateKey
    from onion_rdv.tor.socks import SocksPort

_KEEPALIVE: Final = 60.0
"""Seconds of silence after which the server is asked whether it is there: a circuit can die without a word."""

_NO_MESSAGE: Final = "NO_MSG"


class Inbox:
    """A queue at ``server``, whose messages are wrapped for ``queue_key``; erased at the end of its context."""

    def __init__(
        self,
        socks: SocksPort,
        server: SmpServer,
        queue_key: PrivateKey,
        *,
        timeout: float,
        tell: Callable[[Event], None],
    ) -> None:
        """Prepare it; ``timeout`` (seconds) bounds each request."""
        self.server = server
        self._key = queue_key
        self._timeout = timeout
        self._tell = tell
        self._line = Line(socks, server, timeout, self._tell_of_line)
        self._queue: RecipientQueue | None = None
        self._subscribed: SmpConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.erase()

    async def create(self, link: Callable[[bytes], LinkData] | None = None) -> RecipientQueue:
        """Make the queue; ``link`` is as for :func:`~onion_rdv.smp.client.create_queue`, and raises the same."""

        async def make(connection: SmpConnection) -> RecipientQueue:
            queue = await create_queue(connection, password=self.server.password, link=link)
            self._subscribed = connection
            return queue

        try:
            self._queue = await self._line.use(make)
        except QueueRefused as error:
            raise QueueRefused(
                f"{self.server.host} makes no queue for us", hint=self._hint_at_password(), code=error.code
            ) from None
        return self._queue

    async def listen(self, take: Callable[[bytes], Awaitable[None]]) -> None:
        """Give every message to ``take``; it is forgotten at the server as soon as that returns.

        What the server sends again after a break is given again. Raises what ``take`` raises,
        :class:`~onion_rdv.errors.QueueRefused` where the queue is gone, and
        :class:`~onion_rdv.errors.MessagingCheckFailed` with its kinds.
        """
        queue = self._created()

        async def receive(connection: SmpConnection) -> None:
            if connection is not self._subscribed:
                await subscribe(connection, queue)
                self._subscribed = connection
            while True:
                match (await _next_push(connection)).reply:
                    case Msg() as message:
                        body = queue.open(message).body
                        if body is not None:
                            await take(Envelope.open(body, self._key)[0].message)
                        await _acknowledge(connection, queue, message.message_id)
                    case End():
                        raise MessagingServerSilent("another connection gets what comes to our queue")
                    case Deleted():
                        raise QueueRefused

        try:
            await self._line.keep_using(receive)
        except QueueRefused as error:
            hint = "the server has lost it, or it has expired: begin a new talk"
            raise QueueRefused("our queue is gone", hint=hint, code=error.code) from None

    async def erase(self) -> None:
        """Delete the queue, with what waits in it and the link to it; tells where that fails."""
        queue, self._queue = self._queue, None
        try:
            if queue is not None:
                async with asyncio.timeout(self._timeout):
                    await self._line.keep_using(lambda connection: delete(connection, queue))
        except QueueRefused:
            pass  # it is gone, and the server's word for it was lost on the way
        except TimeoutError:
            self._tell(NotErased(f"{self.server.host} did not answer in time"))
        except RdvError as error:
            self._tell(NotErased(error.message))
        finally:
            await self._line.close()

    def _created(self) -> RecipientQueue:
        if self._queue is None:
            raise ValueError("there is no queue yet")
        return self._queue

    def _hint_at_password(self) -> str:
        if self.server.password is not None:
            return "the password in its address may be wrong; ask the server's operator"
        return (
            'the server may want a password: messaging_server = "smp://FINGERPRINT:PASSWORD@HOST" in the settings'
            " file; or name one that wants none"
        )

    def _tell_of_line(self, reason: str | None) -> None:
        self._tell(Reconnected(Way.IN) if reason is None else Disconnected(Way.IN, reason))


async def _acknowledge(connection: SmpConnection, queue: RecipientQueue, message_id: bytes) -> None:
    """Acknowledge a message; where the server knows of none, another connection of ours has taken over."""
    try:
        await acknowledge(connection, queue, message_id)
    except MessagingRefused as error:
        if error.code != _NO_MESSAGE:
            raise


async def _next_push(connection: SmpConnection) -> Push:
    while True:
        try:
            async with asyncio.timeout(_KEEPALIVE):
                return await connection.next_push()
        except TimeoutError:
            await ping(connection)
