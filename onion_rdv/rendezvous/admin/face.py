"""HTTP on a Unix socket for whoever runs the server: a table of routes, and errors that arrive as what they are.

Whoever may connect is settled by the mode of the socket, and by nothing else. A part of the server that can be asked
something brings a table of its own; the tables are joined in ``rendezvous/service.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from onion_rdv.errors import RdvError
from onion_rdv.tor.onion_service.listening import UnixListener

if TYPE_CHECKING:
    from pathlib import Path

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_PATIENCE = 1.0
"""Seconds that a request under way gets when the server stops."""

_REFUSED = 409
"""Status of a reply that holds an error for a person; which one, its body says."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Routes = Mapping[tuple[str, str], Handler]
"""Who answers what: a method and a path (``{name}`` in it stands for anything), and who is called.

A handler may raise any :class:`~onion_rdv.errors.RdvError`; :class:`~onion_rdv.rendezvous.admin.client.AdminClient`
raises it again at the other end.
"""


class AdminFace:
    """Serves routes at a path."""

    def __init__(self, routes: Routes) -> None:
        application = web.Application(middlewares=[_tell_errors])
        for (method, path), handler in routes.items():
            application.router.add_route(method, path, handler)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_PATIENCE)
        self._listener: UnixListener | None = None

    async def start(self, path: Path, mode: int) -> None:
        """Listen at ``path`` with this mode; raises as :class:`UnixListener` does."""
        listener = UnixListener(path, mode)
        self._listener = listener
        await self._runner.setup()
        await web.SockSite(self._runner, listener.socket).start()

    async def stop(self) -> None:
        """Accept nothing more, give what is under way a second, and close."""
        if self._listener is not None:
            self._listener.unlink()
        await self._runner.cleanup()


@web.middleware
async def _tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RdvError as error:
        return web.json_response(describe(error), status=_REFUSED)
    except web.HTTPException:
        raise
    except Exception as error:  # noqa: BLE001  # aiohttp would log it with a traceback, and so with what is in it
        _LOGGER.error("an administrator's request met a fault inside (%s)", type(error).__name__)  # noqa: TRY400
        return web.json_response(describe(RdvError(type(error).__name__)), status=500)


def describe(error: RdvError) -> dict[str, str]:
    """Give an error as it travels: ``kind`` is its class."""
    return {"kind": type(error).__name__, "detail": error.detail, "hint": error.hint}
