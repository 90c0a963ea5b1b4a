"""Free TCP ports on 127.0.0.1 that stay free until tor takes them, and again while tor restarts."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class ReservedPorts:
    """Ports that only a listener with ``SO_REUSEADDR``, such as tor's, can have.

    A socket that is bound and does not listen keeps Linux from giving its port to anybody who asks for any port, for
    a listener as for an outgoing connection; with ``SO_REUSEADDR`` on both sides a second socket that names the port
    may still bind it and listen. So nobody can come in between, and nothing has to be tried again.
    """

    def __init__(self) -> None:
        self._sockets = ExitStack()

    def take(self) -> int:
        """Reserve one more port."""
        reserved = self._sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sockets.close()
