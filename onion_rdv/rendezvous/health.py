"""Whether a running server is well: a fetch that goes the way of every other one, but for Tor."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from onion_rdv.errors import MalformedReply, ReplyLost, ServerUnreachable
from onion_rdv.protocol.bucket import BUCKET_LINK_SIZE
from onion_rdv.protocol.exchange import (
    FETCH_PADDING_SIZE,
    FETCH_PATH,
    REPLY_SIZE,
    REQUEST_BODY_SIZE,
    Problem,
    fetch_body,
    problem_reply,
)

if TYPE_CHECKING:
    from pathlib import Path

_HEAD: Final = (
    f"POST {FETCH_PATH} HTTP/1.1\r\nHost: health\r\nContent-Length: {REQUEST_BODY_SIZE}\r\nConnection: close\r\n\r\n"
).encode()

_WELL: Final = {problem_reply(problem) for problem in (Problem.BUCKET_UNKNOWN, Problem.BUSY)}
"""A server with too much to do, or whose database is away, tells its clients so, and is not mended by a new start."""


async def check(path: Path, greeting: bytes = b"") -> None:
    """Fetch a bucket that is not there, through the server's socket, web face and store; the caller sets a time-out.

    ``greeting`` is what tor sends on a stream before what the client sends. Raises
    :class:`~onion_rdv.errors.ServerUnreachable` or :class:`~onion_rdv.errors.MalformedReply` when the server is not
    well.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise ServerUnreachable(f"nothing answers at {path} ({error.strerror})") from None
    try:
        link = secrets.token_bytes(BUCKET_LINK_SIZE)
        writer.write(greeting + _HEAD + fetch_body(link, secrets.token_bytes(FETCH_PADDING_SIZE)))
        reply = await reader.readexactly(REPLY_SIZE)
    except (OSError, asyncio.IncompleteReadError):
        raise ReplyLost from None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if reply not in _WELL:
        raise MalformedReply("it does not say that there is no such bucket")
