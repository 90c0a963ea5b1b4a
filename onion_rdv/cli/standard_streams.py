"""Standard streams that are closed at the start (``<&-`` in a shell), where Python has None in their place."""

from __future__ import annotations

import os
import sys

_STDIN, _STDOUT, _STDERR = range(3)


def complete() -> bool:
    """Open /dev/null where one is closed; gives whether stdout was open.

    It also takes their numbers, so that no file or connection of ours gets one: a program that is started from here,
    or a message to stderr, would write into it.
    """
    is_stdout_open = sys.stdout is not None
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(_STDIN, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    return is_stdout_open
