"""Whether a running messaging server is well: a question that goes the way of every other one, but for Tor."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from onion_rdv.errors import MessagingCheckFailed, MessagingRefused, MessagingServerUnreachable
from onion_rdv.smp.client import SmpConnection, get_link
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.smp.wire.address import SmpServer


async def check(path: Path, server: SmpServer, timeout: float) -> None:
    """Ask for a link that is not there, through the server's socket, TLS, hellos and store, for ``timeout`` seconds.

    Raises :class:`~onion_rdv.errors.MessagingServerUnreachable` or
    :class:`~onion_rdv.errors.MessagingCheckFailed`, with their kinds, when the server is not well.
    """
    deadline = time.monotonic() + timeout
    try:
        stream = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise MessagingServerUnreachable(f"nothing answers at {path} ({error.strerror})") from None
    async with await SmpConnection.over(stream, server, deadline=deadline, timeout=timeout) as connection:
        try:
            await get_link(connection, secrets.token_bytes(ENTITY_ID_SIZE))
        except MessagingRefused:  # the link, or anything, because of its store, which has logged why
            return
    raise MessagingCheckFailed("it knows a link that nobody made")
