"""Tell the service manager how the service is, and that it is well (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_ADDRESS = "NOTIFY_SOCKET"
_WATCHDOG = "WATCHDOG_USEC"
_WATCHDOG_PID = "WATCHDOG_PID"
_SEND_SECONDS = 2.0
"""A manager that reads nothing for so long has other worries than our state."""


class ServiceManager:
    """Whom to tell; where there is nobody (``address`` is None), telling does nothing.

    ``watchdog`` is the seconds within which :meth:`feed_watchdog` has to be called again and again, lest the manager
    take the service for dead; None where it does not watch.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Take the manager's variables out of an environment, so that no child of ours speaks for us."""
        address = environment.pop(_ADDRESS, None)
        microseconds = environment.pop(_WATCHDOG, "")
        meant_for = environment.pop(_WATCHDOG_PID, str(os.getpid()))
        is_watched = microseconds.isdecimal() and int(microseconds) > 0 and meant_for == str(os.getpid())
        return cls(address or None, int(microseconds) / 1e6 if is_watched else None)

    @property
    def is_there(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def ready(self) -> None:
        """Say that the service serves."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """Say in one line, for a person, how the service is."""
        self._tell(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._tell("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for this much time from now, before the manager gives up on a start or a stop."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def feed_watchdog(self) -> None:
        """Say that the service is well."""
        self._tell("WATCHDOG=1")

    def _tell(self, assignment: str) -> None:
        if self._address is None:
            return
        # "@" stands for the zero byte of an abstract name (unix(7)). What cannot be told is no reason to end.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(_SEND_SECONDS)
            sending.sendto(assignment.encode(), address)
