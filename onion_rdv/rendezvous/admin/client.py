"""Asking the server that runs on this machine, at its admin socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from onion_rdv import errors
from onion_rdv.errors import NoServerHere, NotItsOperator, RdvError, ReplyLost, ServerBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ADMIN_SOCKET = "admin.socket"
"""The socket's name in the server's state directory, where it is unless another place was named."""

_PATIENCE = 60.0
"""Seconds to wait for an answer, or for the next part of a long one."""

_HOST = "http://onion-rdv"  # HTTP wants a name; the socket is what is asked


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
            return await reply.json()

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """Give what a GET brings, in pieces as they come."""
        async with self._reply("GET", path, None) as reply:
            async for piece in reply.content.iter_any():
                yield piece

    @asynccontextmanager
    async def _reply(self, method: str, path: str, content: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        connector = aiohttp.UnixConnector(str(self._socket))
        time_out = aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE, sock_read=_PATIENCE)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=time_out) as session,
                session.request(method, _HOST + path, json=content, allow_redirects=False) as reply,
            ):
                if not reply.ok:
                    raise await _refusal(reply)
                yield reply
        except aiohttp.ClientConnectorError as error:
            raise self._nobody(error.os_error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ReplyLost(
                f"it broke off ({type(error).__name__})", hint="look into the server's log, and try again"
            ) from None

    def _nobody(self, error: OSError) -> RdvError:
        if isinstance(error, PermissionError):
            return NotItsOperator(f"at {self._socket}")
        return NoServerHere(f"nobody listens at {self._socket}")


async def _refusal(reply: aiohttp.ClientResponse) -> RdvError:
    if reply.content_type != "application/json":
        return ServerBusy(
            f"it does not know what is asked (HTTP status {reply.status})",
            hint="it may run another version of onion-rdv: restart it",
        )
    said = await reply.json()
    kind = getattr(errors, str(said["kind"]), None)
    if not isinstance(kind, type) or not issubclass(kind, RdvError):
        kind = RdvError
    return kind(said["detail"], hint=said["hint"])
