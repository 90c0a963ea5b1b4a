"""How a backup comes out of a running server: at its admin socket, in the clear, to whoever seals it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from onion_rdv.errors import RdvError
from onion_rdv.rendezvous.backup.records import Decoder, encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from aiohttp import web

    from onion_rdv.rendezvous.admin.client import AdminClient
    from onion_rdv.rendezvous.admin.face import Routes
    from onion_rdv.rendezvous.backup.records import Record

BACKUP_PATH = "/backup"


def backup_routes(records: Callable[[], AsyncGenerator[Record]]) -> Routes:
    """Let what the server keeps be read; ``records`` gives it, anew each time."""
    from aiohttp import web  # whoever reads a backup needs the rest of this module, too, and not that

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        try:
            async with aclosing(records()) as given:
                async for record in given:
                    piece = encode(record)
                    try:
                        if not response.prepared:
                            await response.prepare(request)
                        await response.write(piece)
                    except ConnectionError:  # whoever asked wants no more
                        return response
        except RdvError:
            if not response.prepared:
                raise
            if request.transport is not None:  # the other side must not take a part for the whole
                request.transport.abort()
        return response

    return {("GET", BACKUP_PATH): answer}


async def read_records(client: AdminClient) -> AsyncIterator[Record]:
    """Read what a running server keeps; raises as :class:`AdminClient` does."""
    decoder = Decoder()
    async for piece in client.read(BACKUP_PATH):
        for record in decoder.feed(piece):
            yield record
