"""The end of servers that tests have made with asyncio: nobody comes in any more, and nobody who has is forgotten."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from onion_rdv.tor.onion_service.accepting import accept_no_more


def refuse(server: asyncio.Server) -> None:
    """Have the system refuse everybody from now on; :func:`end` has to follow.

    Who was accepted in these turns of the loop is still served.
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
        with suppress(OSError):  # it was refused before
            listening.shutdown(socket.SHUT_RDWR)


async def end(server: asyncio.Server) -> None:
    """Accept nobody any more; when this is done, the task of everybody who was accepted has begun."""
    refuse(server)
    await accept_no_more(server)
