"""What others on this machine may see of this process: not its memory, its arguments, its settings or its files."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PR_SET_DUMPABLE = 4  # prctl(2)
_STAT_ARG_START, _STAT_ARG_END = 48, 49  # the fields' numbers in proc_pid_stat(5)
_VARIABLES = "ONION_RDV_"


def close() -> None:
    """Close this process to everybody but root, and what it makes to everybody but its user.

    There is no core dump, no debugger and no ``/proc/PID/mem``; files, directories and sockets are made for their
    owner alone, and opened afterwards where others are to have them. A program that is started from here has memory
    that others of the user can look into again (tor closes its own), but leaves no core file either.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    with suppress(OSError, ValueError):  # under systemd limits may be out of reach, and this one is 0 already
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    os.umask(0o077)


def hide_argument(argument: str) -> None:
    """Overwrite an argument where the machine's other users see it (``/proc/PID/cmdline``, ps)."""
    secret = os.fsencode(argument)
    for place, one in _arguments():
        if one == secret:
            _overwrite(place, len(one))


def hide_values(options: Sequence[str]) -> None:
    """Overwrite the values of options there, also where they stand behind a ``=`` in the same argument."""
    names = {os.fsencode(option) for option in options}
    before = b""
    for place, one in _arguments():
        name, _, value = one.partition(b"=")
        if before in names:
            _overwrite(place, len(one))
        elif name in names:
            _overwrite(place + len(one) - len(value), len(value))
        before = one


def forget_variables() -> None:
    """Take our settings out of the environment, so that no program that is started from now on inherits them.

    A database's or a messaging server's password can be among them. Commands have read them by the time they run.
    """
    for name in tuple(os.environ):
        if name.startswith(_VARIABLES):
            del os.environ[name]


def _arguments() -> Iterator[tuple[int, bytes]]:
    """Give this process's arguments as the kernel shows them, each with its place in memory."""
    start, end = _arguments_at()
    place = start
    for one in ctypes.string_at(start, end - start).split(b"\0"):
        yield place, one
        place += len(one) + 1


def _overwrite(place: int, size: int) -> None:
    ctypes.memset(place, ord("x"), size)  # Python has its own copy, and never reads this again


def _arguments_at() -> tuple[int, int]:
    """Give from where to where in memory the kernel looks for this process's arguments."""
    fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    # What follows the name, which may hold anything, begins with field 3.
    return int(fields[_STAT_ARG_START - 3]), int(fields[_STAT_ARG_END - 3])
