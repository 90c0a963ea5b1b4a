"""Asking the server that runs on this machine, at its admin socket."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from onion_rdv import errors
from onion_rdv.errors import NoServerHere, NotItsOperator, RdvError, ReplyLost, ServerBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ADMIN_SOCKET = "admin.socket"
"""The socket's name in the server's state directory, where it is unless another place was named."""

_PATIENCE = 60.0
"""Seconds to wait for an answer, or for the next part of a long one."""

_PIECE = 65_536
_JSON = "application/json"
_REFUSED = 400
"""Status from which on a reply is a refusal."""


class AdminClient:
    """Asks at one socket. All methods raise :class:`~onion_rdv.errors.RdvError` where the server answers with one.

    They raise :class:`~onion_rdv.errors.NoServerHere` where nobody listens there,
    :class:`~onion_rdv.errors.NotItsOperator` where this user may not ask, and
    :class:`~onion_rdv.errors.ReplyLost` where the server breaks off.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ask(self, method: str, path: str, content: Any = None) -> Any:
        """Send JSON (nothing for None), and give the JSON that comes back."""
        async with self._reply(method, path, content) as reply:
            return json.loads(await asyncio.to_thread(reply.read))

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """Give what a GET brings, in pieces as they come."""
        async with self._reply("GET", path, None) as reply:
            while piece := await asyncio.to_thread(reply.read1, _PIECE):
                yield piece

    @asynccontextmanager
    async def _reply(self, method: str, path: str, content: Any) -> AsyncIterator[HTTPResponse]:
        with _ended(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(_PATIENCE)
            try:
                await asyncio.to_thread(connection.connect, str(self._socket))
            except OSError as error:
                raise self._nobody(error) from None
            try:
                reply = await asyncio.to_thread(_request, connection, method, path, content)
                if reply.status >= _REFUSED:
                    raise await asyncio.to_thread(_refusal, reply)
                yield reply
            except (HTTPException, OSError) as error:
                raise ReplyLost(
                    f"it broke off ({type(error).__name__})", hint="look into the server's log, and try again"
                ) from None

    def _nobody(self, error: OSError) -> RdvError:
        if isinstance(error, PermissionError):
            return NotItsOperator(f"at {self._socket}")
        return NoServerHere(f"nobody listens at {self._socket}")


@contextmanager
def _ended(connection: socket.socket) -> Iterator[socket.socket]:
    """Give a connection, and end it: a thread that waits for it then waits no longer."""
    try:
        yield connection
    finally:
        with suppress(OSError):  # it may never have begun
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _request(connection: socket.socket, method: str, path: str, content: Any) -> HTTPResponse:
    """Send JSON (nothing for None), and give the reply when its head is there."""
    http = HTTPConnection("onion-rdv")  # HTTP wants a name; the socket is what is asked
    http.sock = connection
    if content is None:
        http.request(method, path)
    else:
        http.request(method, path, json.dumps(content), {"Content-Type": _JSON})
    return http.getresponse()


def _refusal(reply: HTTPResponse) -> RdvError:
    if reply.headers.get_content_type() != _JSON:
        return ServerBusy(
            f"it does not know what is asked (HTTP status {reply.status})",
            hint="it may run another version of onion-rdv: restart it",
        )
    said = json.loads(reply.read())
    kind = getattr(errors, str(said["kind"]), None)
    if not isinstance(kind, type) or not issubclass(kind, RdvError):
        kind = RdvError
    return kind(said["detail"], hint=said["hint"])
