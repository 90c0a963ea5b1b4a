"""Taking connections in on a Unix socket, and ceasing to without a word lost."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from onion_rdv.tor.onion_service.listening import BACKLOG

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_TURNS: Final = 3
"""Turns of the event loop from the one that accepts a connection to the one that begins what its protocol has made of
it: asyncio makes a transport in the first, tells the protocol in the second, and a task that this makes begins in the
third."""


async def accept_on(listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """Take in who comes to a Unix stream socket that listens already; each gets a protocol.

    The socket is closed by :func:`accept_no_more`, and its name stays.
    """
    # From Python 3.13 on, asyncio would take the name away by itself, also one that is not ours.
    keep_name: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    server = await asyncio.get_running_loop().create_unix_server(make_protocol, sock=listener, **keep_name)
    listener.listen(BACKLOG)  # asyncio has made it 100
    return server


async def accept_no_more(server: asyncio.Server) -> None:
    """Accept nobody from now on; when this is done, whoever was accepted before has a protocol that knows of it.

    :meth:`asyncio.Server.close` alone drops those whom the last turns have accepted, and has the garbage collector
    close them. Who waits in the system's queue stays there where somebody else has the socket too, as the service
    manager; otherwise the queue ends with the socket.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    try:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    finally:
        server.close()
