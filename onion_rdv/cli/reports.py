"""What is reported beside a command's own words: log records, and errors that nobody foresaw.

Records of our own are texts with cause and cure, and are said. Of everything else kind and place are shown: the text
of an error, or of a library's record, may hold a secret. Python and its libraries would print it, with a traceback,
for what goes wrong in a thread, a task or a destructor.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from onion_rdv.cli.terminal import complain, printable, say
from onion_rdv.errors import RdvError
from onion_rdv.systemd.journal import Priority

if TYPE_CHECKING:
    from types import TracebackType


def as_bug(error: BaseException) -> RdvError:
    """Give what a person is told of an unforeseen error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "onion_rdv" in frame.filename] or frames
    place = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    return RdvError(f"{type(error).__name__}{place}")


def take_over_reports() -> None:
    """Have this process report everything in this way."""
    sys.excepthook = _excepthook
    threading.excepthook = _threading_excepthook
    sys.unraisablehook = _unraisablehook
    logging.getLogger().addHandler(_LogHandler(logging.WARNING))


def _excepthook(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    complain(as_bug(error))


def _threading_excepthook(seen: threading.ExceptHookArgs) -> None:
    if seen.exc_value is not None:
        complain(as_bug(seen.exc_value))


def _unraisablehook(seen: sys.UnraisableHookArgs) -> None:
    if seen.exc_value is not None:
        complain(as_bug(seen.exc_value))


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        is_error = record.levelno >= logging.ERROR
        if record.name.split(".")[0] == "onion_rdv":
            say(printable(record.getMessage()), Priority.ERROR if is_error else Priority.WARNING)
        elif is_error:  # asyncio warns of what is slow, with its results, in its debug mode
            error = record.exc_info[1] if record.exc_info else None
            complain(RdvError(f"{record.name} reports an error") if error is None else as_bug(error))
