"""Opening a talk: as the one who begins it, with a link to hand over, or as the one who joins with that link."""

from __future__ import annotations

import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from onion_rdv.client.talk.conversation import Talk
from onion_rdv.client.talk.events import ThroughExit
from onion_rdv.client.talk.inbox import Inbox
from onion_rdv.client.talk.introductions import Introduction
from onion_rdv.client.talk.link import TalkLink, with_one_host
from onion_rdv.client.talk.meeting import Beginner, Joiner
from onion_rdv.client.talk.outlet import Outlet
from onion_rdv.errors import MalformedBlock, QueueRefused
from onion_rdv.protocol.host import is_onion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onion_rdv.client.talk.conversation import Tell
    from onion_rdv.client.talk.session import Session
    from onion_rdv.smp.wire.address import SmpServer
    from onion_rdv.smp.wire.commands import LinkData
    from onion_rdv.tor.socks import SocksPort


@asynccontextmanager
async def begin(socks: SocksPort, server: SmpServer, *, timeout: float, tell: Tell) -> AsyncIterator[Talk]:
    """Begin a talk at ``server``; its ``link`` is for one person.

    ``timeout`` (seconds) bounds each request; ``tell`` hears of what happens. Raises
    :class:`~onion_rdv.errors.MessagingServerUnreachable`, :class:`~onion_rdv.errors.MessagingCheckFailed`, and
    :class:`~onion_rdv.errors.NoTor`, with their kinds.
    """
    beginner = Beginner(secrets.token_bytes)
    link_key = b""

    def introduce(sender_id: bytes) -> LinkData:
        nonlocal link_key
        link_key, data = beginner.introduce(sender_id)
        return data

    inbox = Inbox(socks, server, beginner.queue_key, timeout=timeout, tell=tell)
    async with inbox:
        queue = await inbox.create(introduce)
        if queue.link_id is None:
            raise MalformedBlock("a reply: the server has made no link")
        link = TalkLink(with_one_host(server), queue.link_id, link_key)

        def meet(message: bytes, now: float) -> tuple[Outlet, Session]:
            hello, session = beginner.meet(link, message, now)
            if not is_onion(hello.server.host):
                tell(ThroughExit(hello.server.host))
            outlet = Outlet(socks, hello.server, timeout=timeout, tell=tell)
            outlet.lead_to(hello.sender_id, hello.queue_key)
            return outlet, session

        async with Talk(inbox, link, meet, timeout=timeout, tell=tell) as talk:
            yield talk


@asynccontextmanager
async def join(
    link: TalkLink, socks: SocksPort, server: SmpServer | None, *, timeout: float, tell: Tell
) -> AsyncIterator[Talk]:
    """Join the talk that a link leads to; this uses the link up.

    ``server`` is where this end's own queue is made, where it is not to be the link's. Raises as :func:`begin` does,
    :class:`~onion_rdv.errors.LinkDataRefused`, and :class:`~onion_rdv.errors.TalkBroken`.
    """
    joiner = Joiner(secrets.token_bytes)
    inbox = Inbox(socks, server or link.server, joiner.queue_key, timeout=timeout, tell=tell)
    outlet = Outlet(socks, link.server, timeout=timeout, tell=tell)
    async with inbox, outlet:
        queue = await inbox.create()  # first: where that fails, the link stays unused
        async with Talk(inbox, link, None, timeout=timeout, tell=tell) as talk:
            try:
                reply = await outlet.open_link(link.link_id)
            except QueueRefused as error:
                raise QueueRefused(
                    "somebody has joined with this link before, or the one who began has left",
                    hint="ask for a new invite; if neither of you knows who joined, somebody else has invite and"
                    " passphrase",
                    code=error.code,
                ) from None
            introduction = Introduction.open(link, reply.sender_id, reply.data)
            outlet.lead_to(reply.sender_id, introduction.queue_key)
            place = with_one_host(inbox.server)
            talk.start(outlet, joiner.meet(link, introduction, queue.sender_id, place, time.monotonic()))
            yield talk
