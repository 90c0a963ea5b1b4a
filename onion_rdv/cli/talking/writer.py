"""Writing lines to stdout and stderr while everything else goes on, whether somebody takes them or not.

A thread writes, for the same reasons as one reads stdin: a pager that waits at the end of its page, or a program that
does something else, must not keep a talk from hearing signals, or from telling the other that it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from queue import SimpleQueue
from typing import Final

from onion_rdv.cli.terminal import lost
from onion_rdv.client.talk.pulse import Pulse

STDOUT: Final = 1
STDERR: Final = 2


class Writer:
    """A thread that writes one line after the other. It may still be waiting to do so when the program ends."""

    def __init__(self) -> None:
        """Start it."""
        self._lines: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._left = 0
        self._failure: OSError | None = None
        self._has_raised = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = Pulse()
        threading.Thread(target=self._run, daemon=True).start()

    def write(self, text: str, descriptor: int = STDOUT) -> None:
        """Let a line be written.

        Raises :class:`~onion_rdv.errors.OutputLost` or :class:`~onion_rdv.errors.NobodyReads`, once, where an earlier
        one could not be written to stdout.
        """
        self._raise_failure()
        with self._changed:
            self._left += 1
        self._lines.put((descriptor, _encode(f"{text}\n")))

    async def until_written(self) -> None:
        """Wait until all of it is written; raises as :meth:`write` does."""
        self._loop = asyncio.get_running_loop()
        await self._news.until(lambda: self.finish(0))
        self._raise_failure()

    def finish(self, timeout: float) -> bool:
        """Wait for so many seconds at most; tells whether nothing waits any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._left, timeout)

    def _raise_failure(self) -> None:
        if self._failure is not None and not self._has_raised:
            self._has_raised = True
            raise lost(self._failure)

    def _run(self) -> None:
        while True:
            descriptor, line = self._lines.get()
            try:
                # Not through sys.stdout: a thread that waits inside it cannot be left behind when the program ends.
                while line:
                    line = line[os.write(descriptor, line) :]
            except OSError as error:
                if descriptor == STDOUT:
                    self._failure = error
            with self._changed:
                self._left -= 1
                self._changed.notify_all()
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._news.beat)


def _encode(text: str) -> bytes:
    """Encode as :func:`~onion_rdv.cli.terminal.emit` does: nothing of it may be lost."""
    try:
        return text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return text.encode()
