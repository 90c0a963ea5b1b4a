"""How the keeper and the process that started it talk: one JSON object a line, both ways.

The keeper's stdin carries commands, its stdout what happened. The end of stdin means that the parent is gone, and
that everything is to be torn down, until the parent has sent ``detach``. Signals only ever set a mark that
:meth:`Channel.wait` finds, so they interrupt nothing, least of all the tidying up.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop(Exception):
    """The network is to end: a signal came, or the parent is gone."""


class Channel:
    """The keeper's end; there can be one in a process, in its main thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._pending = b""
        self._attached = True
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ)
        self._marks, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._marks, selectors.EVENT_READ)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (*_ENDING, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)

    def tell(self, event: str, **details: Any) -> None:
        """Tell the parent what happened; raise Stop when it is gone."""
        if not self._attached:
            return
        try:
            sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise Stop from None

    def tell_last(self, event: str, **details: Any) -> None:
        """Tell the parent what happened, if it is still there."""
        with contextlib.suppress(Stop):
            self.tell(event, **details)

    def wait(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """Wait for commands, a child's end, or ``timeout`` seconds; raise Stop when it is time to end."""
        commands: list[dict[str, Any]] = []
        for key, _ in self._selector.select(timeout):
            if key.fd == self._marks:
                if any(number in _ENDING for number in os.read(self._marks, 4096)):
                    raise Stop
            else:
                commands += self._read_commands()
        return commands

    def _read_commands(self) -> list[dict[str, Any]]:
        arrived = os.read(0, 65536)
        if not arrived:
            raise Stop
        *lines, self._pending = (self._pending + arrived).split(b"\n")
        return [json.loads(line) for line in lines]

    def detach(self) -> None:
        """Go on without the parent."""
        self._attached = False
        self._selector.unregister(0)
        sys.stdout.flush()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.close(nothing)
