"""What a service manager does for a service: it hears how it is, and keeps its socket."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 120

_PASS = """
import os, sys
descriptor, count, pid, *command = sys.argv[1:]
os.dup2(int(descriptor), 3)
os.environ |= {"LISTEN_FDS": count, "LISTEN_PID": pid or str(os.getpid()), "LISTEN_FDNAMES": "web"}
os.execvp(command[0], command)
"""


class Manager:
    """Hears what a service says at ``NOTIFY_SOCKET``, which is ``address``."""

    def __init__(self, path: Path, *, abstract: bool = False) -> None:
        self.address = f"@onion-rdv-test-{os.getpid()}" if abstract else str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0"))
        self._socket.settimeout(_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hear(self) -> str:
        """Wait for the next thing that is said."""
        return self._socket.recv(4096).decode()

    def hear_until(self, wanted: str) -> list[str]:
        """Wait until this is said; gives it and everything before it."""
        heard = [self.hear()]
        while heard[-1] != wanted:
            heard.append(self.hear())
        return heard


class Listening:
    """A socket that is passed to a process which ``wrapper`` runs, as its descriptor 3; ``passed`` goes along."""

    def __init__(self, path: Path, *, kind: str = "stream", count: int = 1, pid: str = "") -> None:
        self.path = path
        if kind == "file":
            self._descriptor = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR)
        else:
            family = socket.AF_INET if kind == "inet" else socket.AF_UNIX
            passed = socket.socket(family, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
            names: dict[str, str | tuple[str, int]] = {"inet": ("127.0.0.1", 0), "abstract": ""}
            passed.bind(names.get(kind, str(path)))
            if kind not in {"datagram", "silent"}:
                passed.listen(1024)
            self._descriptor = passed.detach()
        self.passed = (self._descriptor,)
        self.wrapper = (sys.executable, "-c", _PASS, str(self._descriptor), str(count), pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
