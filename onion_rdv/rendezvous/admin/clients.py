"""Whom the running server lets in: its operator may see, and change it, and the onion service obeys at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from onion_rdv.errors import SettingsError, UsageError
from onion_rdv.tor.client_authorization import public_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from onion_rdv.rendezvous.admin.face import Routes
    from onion_rdv.tor.onion_service import OnionService
    from onion_rdv.tor.onion_service.client_list import ClientList

CLIENTS_PATH = "/clients"

_PATIENCE = 40.0
"""Seconds that whoever asks waits for the directories; the service is published all the same."""


class Clients:
    """The clients of a server.

    ``address`` is the onion service's, 56 characters and ``.onion``, None where it is not known; ``onion`` is the
    running service, None where none runs; ``configured`` are public keys that the settings name, and that nobody can
    take away here.

    What methods give is an object of JSON: ``address``; ``clients``, a list of objects with ``name`` and ``key``;
    ``configured``, how many those are; ``published``, whether the directories know of all this. They raise
    :class:`~onion_rdv.errors.UsageError` and :class:`~onion_rdv.errors.SettingsError`, and then nothing has changed.
    """

    def __init__(
        self, address: str | None, onion: OnionService | None, listed: ClientList, configured: tuple[str, ...]
    ) -> None:
        self._address = address
        self._onion = onion
        self._listed = listed
        self._configured = public_keys(configured)
        self._changing = asyncio.Lock()
        self._telling: set[asyncio.Task[bool]] = set()

    async def list(self) -> dict[str, Any]:
        """Give the clients."""
        published = self._onion is not None and self._onion.state == "published"
        return self._describe(await asyncio.to_thread(self._listed.read), published=published)

    async def add(self, name: str, key: str) -> dict[str, Any]:
        """Let in one more, with a public key in base32."""
        async with self._changing:
            added = partial(self._listed.with_client, name, key, others=len(self._configured))
            return await self._change(await asyncio.to_thread(added))

    async def remove(self, name: str, *, make_public: bool = False) -> dict[str, Any]:
        """Shut one out, at once; the last one only to ``make_public`` what was private."""
        async with self._changing:
            clients = await asyncio.to_thread(self._listed.without_client, name)
            if not clients and not self._configured and not make_public:
                raise UsageError(
                    f"{name} is the last client: without any, the server lets everybody in, {name} too",
                    hint="authorize another client first; or, to let everybody in, say --make-public",
                )
            return await self._change(clients)

    async def _change(self, clients: Mapping[str, str]) -> dict[str, Any]:
        # The file comes first, so that a crash cannot let in again who was removed.
        before = await asyncio.to_thread(self._listed.read)
        await asyncio.to_thread(self._listed.write, clients)
        try:
            published = await self._tell(clients)
        except SettingsError:
            await asyncio.to_thread(self._listed.write, before)
            raise
        return self._describe(clients, published=published)

    async def _tell(self, clients: Mapping[str, str]) -> bool:
        """Have tor obey; gives whether the directories know by now."""
        if self._onion is None:
            return False
        telling = asyncio.create_task(self._onion.replace_clients((*self._configured, *clients.values())))
        self._telling.add(telling)
        telling.add_done_callback(self._told)
        await asyncio.wait({telling}, timeout=_PATIENCE)
        return telling.result() if telling.done() else False

    def _told(self, telling: asyncio.Task[bool]) -> None:
        self._telling.discard(telling)
        if not telling.cancelled():
            telling.exception()  # whoever asked may not wait for it any more

    def _describe(self, clients: Mapping[str, str], *, published: bool) -> dict[str, Any]:
        return {
            "address": self._address,
            "clients": [{"name": name, "key": key} for name, key in clients.items()],
            "configured": len(self._configured),
            "published": published,
        }

    def routes(self) -> Routes:
        """Let clients be asked for (GET), added (POST) and removed (DELETE)."""
        from aiohttp import web  # whoever asks needs the rest of this module, too, and not that

        async def answer(request: web.Request) -> web.Response:
            match request.method:
                case "POST":
                    said = await self.add(*_texts(await request.json(), "name", "key"))
                case "DELETE":
                    wanted = await request.json()
                    (name,) = _texts(wanted, "name")
                    said = await self.remove(name, make_public=wanted.get("make_public") is True)
                case _:
                    said = await self.list()
            return web.json_response(said)

        return {(method, CLIENTS_PATH): answer for method in ("GET", "POST", "DELETE")}


def _texts(said: Any, *names: str) -> tuple[str, ...]:
    texts = tuple(said.get(name) for name in names) if isinstance(said, dict) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise UsageError("that is not what this server understands", hint="it may run another version: restart it")
    return tuple(map(str, texts))
