"""The other end's queue, as this end uses it: what is said goes there, one message at a time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Final, Self

from onion_rdv.client.talk.events import Disconnected, QueueIsFull, Reconnected, Way
from onion_rdv.client.talk.line import Line
from onion_rdv.errors import QueueFull, RdvError
from onion_rdv.smp.client import SenderQueue, ping, secure, send, use_up_link
from onion_rdv.smp.client.queues import fresh_key
from onion_rdv.smp.wire.crypto import NONCE_SIZE
from onion_rdv.smp.wire.envelopes import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.client.talk.events import Event
    from onion_rdv.client.talk.outbox import Outgoing
    from onion_rdv.client.talk.pulse import Pulse
    from onion_rdv.smp.client import SmpConnection
    from onion_rdv.smp.wire.address import SmpServer
    from onion_rdv.smp.wire.keys import PublicKey
    from onion_rdv.smp.wire.replies import Lnk
    from onion_rdv.tor.socks import SocksPort

_KEEPALIVE: Final = 60.0
"""Seconds without a word after which the server is asked whether it is there."""

_FULL_PAUSE: Final = 5.0
"""Seconds after which a full queue is tried again."""

_TRIES: Final = 2
"""Connections on which a link may be opened; afterwards nothing is known yet that would be worth more patience."""


class Outlet:
    """A queue of the other's at ``server``; messages are wrapped for ``recipient``, the key of that queue."""

    def __init__(self, socks: SocksPort, server: SmpServer, *, timeout: float, tell: Callable[[Event], None]) -> None:
        """Prepare it; ``timeout`` (seconds) bounds each request."""
        self._tell = tell
        self._line = Line(socks, server, timeout, self._tell_of_line)
        self._key = fresh_key()  # that the queue is secured for
        self._envelope_key = fresh_key()
        self._queue: SenderQueue | None = None
        self._recipient: PublicKey | None = None
        self._is_secured = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def open_link(self, link_id: bytes) -> Lnk:
        """Use up a one-time link, which secures the queue behind it for us.

        The server lets the same key open it again, so that a break on the way does no harm. Raises
        :class:`~onion_rdv.errors.QueueRefused` where somebody else was first, or the queue is gone.
        """
        reply = await self._line.keep_using(
            lambda connection: use_up_link(connection, link_id, self._key), tries=_TRIES
        )
        self._is_secured = True
        return reply

    def lead_to(self, sender_id: bytes, recipient: PublicKey) -> None:
        """Say which queue it is, and the key for its envelopes."""
        self._queue = SenderQueue(sender_id, self._key)
        self._recipient = recipient

    async def send_all(
        self, outgoing: Callable[[], Outgoing | None], sent: Callable[[int], None], news: Pulse
    ) -> None:
        """Send what ``outgoing`` gives, again and again until the server has it, and tell ``sent`` so.

        ``news`` beats when there may be more to send. Raises :class:`~onion_rdv.errors.QueueRefused` where the queue
        is gone, and :class:`~onion_rdv.errors.MessagingCheckFailed` with its kinds.
        """
        is_full = False

        async def work(connection: SmpConnection) -> None:
            watching = asyncio.create_task(_tell_of_end(connection, news))
            try:
                await send_over(connection)
            finally:
                watching.cancel()

        async def send_over(connection: SmpConnection) -> None:
            nonlocal is_full
            queue, recipient = self._led_to()
            if not self._is_secured:
                await secure(connection, queue)
                self._is_secured = True
            while True:
                message = outgoing()
                if message is None:
                    if connection.failure is not None or not await news.wait(_KEEPALIVE):
                        await ping(connection)
                    continue
                body = Envelope(message.message).seal(self._envelope_key, recipient, secrets.token_bytes(NONCE_SIZE))
                try:
                    await send(connection, queue, body)
                except QueueFull:
                    if not is_full:
                        self._tell(QueueIsFull())
                    is_full = True
                    await asyncio.sleep(_FULL_PAUSE)
                    continue
                is_full = False
                sent(message.number)

        await self._line.keep_using(work)

    def _led_to(self) -> tuple[SenderQueue, PublicKey]:
        if self._queue is None or self._recipient is None:
            raise ValueError("it is not known yet where this leads")
        return self._queue, self._recipient

    def _tell_of_line(self, reason: str | None) -> None:
        self._tell(Reconnected(Way.OUT) if reason is None else Disconnected(Way.OUT, reason))


async def _tell_of_end(connection: SmpConnection, news: Pulse) -> None:
    """Beat when a connection has ended, so that it is made again before there is something to send."""
    with contextlib.suppress(RdvError):
        while True:
            await connection.next_push()  # there is nothing to get but the end
    news.beat()
