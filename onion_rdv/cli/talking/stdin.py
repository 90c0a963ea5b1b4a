"""Reading stdin line by line while everything else goes on, whatever stdin is.

A thread reads, because an event loop cannot wait for everything that can be stdin (not for files), and a terminal
that is made non-blocking would be so for everybody who writes to it. It reads no more than is asked for.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import threading
from typing import TYPE_CHECKING

from onion_rdv.cli.terminal import warn
from onion_rdv.client.talk.session import MAX_TEXT_SIZE
from onion_rdv.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_STDIN = 0
_CHUNK = 65_536


async def lines(descriptor: int = _STDIN) -> AsyncIterator[str]:
    """Give the lines, without their ends, until there are no more.

    What is not UTF-8 in them is replaced, with a warning at the first of them. Raises
    :class:`~onion_rdv.errors.UsageError` for a line that is longer than a message can be, and where stdin cannot be
    read.
    """
    reader = _Reader(descriptor)
    decode = _Decoder()
    begun = bytearray()
    while chunk := await reader.read():
        *whole, rest = chunk.split(b"\n")
        for end in whole:
            yield decode(begun + end)
            begun.clear()
        begun += rest
        if len(begun) > MAX_TEXT_SIZE:
            raise UsageError(f"a line is longer than {MAX_TEXT_SIZE:,} bytes", hint="send it in parts")
    if begun:
        yield decode(begun)


class _Decoder:
    """Decodes lines, and warns of the first that is not UTF-8."""

    def __init__(self) -> None:
        self._has_warned = False

    def __call__(self, line: bytearray) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            if not self._has_warned:
                self._has_warned = True
                warn("a line of stdin is not UTF-8: the other gets U+FFFD in place of what cannot be read")
            return line.decode(errors="replace")


class _Reader:
    """A thread that reads one chunk whenever one is wanted. It may still be waiting for one when the program ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._wanted = threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    async def read(self) -> bytes:
        self._wanted.release()
        chunk = await self._chunks.get()
        if isinstance(chunk, OSError):
            raise UsageError(f"stdin cannot be read: {chunk.strerror}", hint="look at where it comes from")
        return chunk

    def _run(self) -> None:
        chunk: bytes | OSError = b"?"
        while chunk and not isinstance(chunk, OSError):
            self._wanted.acquire()
            chunk = self._read_chunk()
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody wants it any more
                return

    def _read_chunk(self) -> bytes | OSError:
        """Read, where somebody else has made stdin non-blocking, too; a terminal that is gone has come to its end."""
        while True:
            try:
                # Not through sys.stdin: a thread that waits inside it cannot be left behind when the program ends.
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                there = select.poll()
                there.register(self._descriptor, select.POLLIN)
                there.poll()
            except OSError as error:
                is_gone = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self._descriptor).st_mode)
                return b"" if is_gone else error
