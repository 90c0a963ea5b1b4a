"""Clients that store as fast as they are answered, for tests that kill what answers them."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from onion_rdv.protocol import BUCKET_SIZE, ENTRY_SIZE, BucketId
from onion_rdv.protocol.bucket import entries
from onion_rdv.protocol.exchange import REPLY_SIZE

if TYPE_CHECKING:
    from pathlib import Path


class Clients:
    """Store on several connections at once, and remember what was acknowledged and into which bucket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.acknowledged: dict[bytes, BucketId] = {}
        self.sent: set[bytes] = set()

    async def run(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_unix_connection(self._socket)
            try:
                while True:
                    await self._store(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _store(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        entry = secrets.token_bytes(ENTRY_SIZE)
        self.sent.add(entry)
        writer.write(b"POST /v1/store HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n" + entry)
        reply = await reader.readexactly(REPLY_SIZE)
        assert reply.startswith(b"HTTP/1.1 201 ")
        assert entries(reply[-BUCKET_SIZE:]).count(entry) == 1
        self.acknowledged[entry] = BucketId.decode(reply[-BUCKET_SIZE - 12 : -BUCKET_SIZE])
