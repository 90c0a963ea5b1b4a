"""How important a line is, for a journal (sd-daemon(3)): it begins with ``<3>`` for an error, for instance."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_STREAM = "JOURNAL_STREAM"


class Priority(IntEnum):
    """The levels of syslog(3) that are used here."""

    ERROR = 3
    WARNING = 4
    INFO = 6


def is_journal(output: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether an output leads straight to the journal (systemd.exec(5), "$JOURNAL_STREAM")."""
    stream = environment.get(_STREAM)
    if not stream:
        return False
    try:
        status = os.fstat(output.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def with_priority(text: str, priority: Priority) -> str:
    """Mark every line of a text."""
    return "\n".join(f"<{priority.value}>{line}" for line in text.split("\n"))
