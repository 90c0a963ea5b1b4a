"""Whole blocks over a connection, in TLS: what comes in waits for its turn, what goes out is bounded."""

from __future__ import annotations

import asyncio
from asyncio import sslproto
from typing import TYPE_CHECKING, Any, cast

from onion_rdv.smp.wire.blocks import BLOCK_SIZE

if TYPE_CHECKING:
    import ssl

_MOST_WAITING = 2 * BLOCK_SIZE
"""Bytes that wait to be read before no more are taken from TLS."""

_MOST_UNOPENED = BLOCK_SIZE
"""Bytes that TLS keeps meanwhile before no more are taken from the system (256 KiB by default). TLS hands over all of
them when more may be taken."""

_MOST_SEALED = BLOCK_SIZE
"""Bytes that wait to be taken by the system before TLS keeps what follows."""

_MOST_UNSENT = 2 * BLOCK_SIZE
"""Bytes that TLS keeps before a connection counts as congested. It hands over all of them when the system has taken
enough: so there may be twice as many, and what was written at once."""

_GOODBYE = 5.0
"""Seconds to wait for the other side's end of TLS."""


# asyncio takes this much memory for each connection in TLS, from its first moment: 256 KiB by default, and so half a
# gigabyte for as many connections as there may be. A block with what TLS adds to it needs no more than this. asyncio
# has no setting for it, so that it holds for all connections of this process.
sslproto.SSLProtocol.max_size = BLOCK_SIZE + 1024


class BlockStream(asyncio.Protocol):
    """A connection after its TLS handshake; made with :meth:`accept`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._is_attached = False  # what follows on the handshake can come before we are told of its end
        self._received = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_over = False  # nothing more is read
        self._is_lost = False  # nor sent

    @classmethod
    async def accept(cls, raw: asyncio.Transport, context: ssl.SSLContext, patience: float) -> BlockStream:
        """Do the server's part of the handshake.

        Raises :class:`OSError`, among them :class:`ssl.SSLError` and time-outs.
        """
        loop = asyncio.get_running_loop()
        stream = cls()
        transport = await loop.start_tls(
            raw, stream, context, server_side=True, ssl_handshake_timeout=patience, ssl_shutdown_timeout=_GOODBYE
        )
        if transport is None:  # lost between the handshake and here
            raise ConnectionResetError
        stream._transport = transport
        stream._is_attached = True
        raw.set_write_buffer_limits(high=_MOST_SEALED)
        transport.set_write_buffer_limits(high=_MOST_UNSENT)
        cast("Any", transport).set_read_buffer_limits(high=_MOST_UNOPENED)  # asyncio's for TLS have this too
        return stream

    @property
    def tls(self) -> ssl.SSLObject:
        """What TLS knows of the connection."""
        return cast("ssl.SSLObject", self._transport.get_extra_info("ssl_object"))

    @property
    def is_congested(self) -> bool:
        """Whether the other side does not take what it was sent."""
        return self._drained is not None

    async def read(self) -> bytes | None:
        """Give the next block; None at the end, also in the middle of one. For one task."""
        while len(self._received) < BLOCK_SIZE:
            if self._is_over:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        with memoryview(self._received) as received:
            block = bytes(received[:BLOCK_SIZE])
        del self._received[:BLOCK_SIZE]
        if len(self._received) < _MOST_WAITING and not self._transport.is_closing():
            self._transport.resume_reading()
        return block

    def write(self, block: bytes) -> None:
        """Send a block, now or when the other side takes it."""
        if not self._is_lost:
            self._transport.write(block)

    async def drain(self, patience: float) -> None:
        """Wait until the other side has taken enough; raises :class:`TimeoutError`."""
        if self._drained is not None:
            async with asyncio.timeout(patience):
                await asyncio.shield(self._drained)

    def finish(self) -> None:
        """Read nothing more: the reader is told that this is the end when it comes back for more.

        What is being answered can still be sent.
        """
        self._is_over = True
        self._received.clear()
        self._wake()

    def close(self) -> None:
        """End the connection when what was written has gone."""
        self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    # What asyncio calls

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self._is_over:
            return
        self._received += data
        if len(self._received) >= BLOCK_SIZE:
            self._wake()
            if len(self._received) >= _MOST_WAITING and self._is_attached:
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Let whoever waits know."""
        self._is_over = self._is_lost = True
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Note that too much waits to be sent."""
        if not self._is_lost:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Note that enough was sent."""
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
