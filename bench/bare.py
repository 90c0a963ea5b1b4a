"""The least that aiohttp can do: answer every request with the same bytes, as many as ours, on a Unix socket."""

from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web

_BODY = os.urandom(16_396)  # onion_rdv.protocol.exchange.REPLY_BODY_SIZE; nothing of ours is in this process


async def _answer(_: web.BaseRequest) -> web.Response:
    return web.Response(body=_BODY)


async def main(path: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(web.Server(_answer, access_log=None), path)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
