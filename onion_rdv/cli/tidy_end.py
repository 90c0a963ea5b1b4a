"""Commands that leave nothing half made behind when they are told to end."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def tidy_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP (a connection to another machine that breaks) end a block as Ctrl-C does.

    What the block has begun is undone on the way out; the exit code is the shell's for such an end, 128 and the
    signal's number. What was ignored stays so.
    """

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in not_ignored(_SIGNALS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def not_ignored(signals: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Leave out what whoever started the command had it ignore, as nohup does and a shell with ``&``."""
    return [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def interruptible() -> Iterator[None]:
    """Let whatever ends the command break a block off by KeyboardInterrupt, where an event loop would have it wait.

    The block waits for a person, and keeps the loop waiting, too.
    """

    def interrupt(_number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt

    wakeup = signal.set_wakeup_fd(-1)  # the loop is not to hear of it a second time
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_SIGNALS)}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in handled:
            signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
