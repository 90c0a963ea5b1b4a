"""What a plain script does with tor: start it with a torrc, talk to its control port, wait for a descriptor.

With none of the project's code, to measure that beside it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from harness import ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SERVICE = "Flags=DiscardPK,MaxStreamsCloseCircuit MaxStreams=16 PoWDefensesEnabled=1"
"""The settings of an onion service that onion-rdv has, as arguments of ADD_ONION."""

SERVICE_TORRC = """\
SocksPort 0
ControlPort unix:{place}/control
HiddenServiceDir {place}/service
HiddenServicePort 80 unix:{place}/socket
HiddenServiceMaxStreams 16
HiddenServiceMaxStreamsCloseCircuit 1
HiddenServicePoWDefensesEnabled 1
"""
"""The same for a torrc, with a control port to watch it through."""

_PATIENCE = 120.0
_POLL = 0.01
_REPLY_ENDS = re.compile(r"[2-5]\d\d ")


@contextlib.contextmanager
def running(directory: Path, torrc: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run tor in a directory of its own (0700), where it also leaves its log."""
    command = ["tor", "--defaults-torrc", "/dev/null", "-f", "-"]
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as tor,
        ended(tor),
    ):
        if tor.stdin is not None:
            with tor.stdin:
                tor.stdin.write(f"DataDirectory {directory}\nLog notice stdout\n{torrc}".encode())
        yield tor


class Control:
    """A connection to a control port, at HOST:PORT or a Unix socket's path, waited for if it is not there yet."""

    def __init__(self, where: str | Path, cookie: Path | None = None) -> None:
        self._connection = _connect(where)
        self._connection.settimeout(_PATIENCE)
        self._lines = self._connection.makefile("r", encoding="ascii")
        self.ask("AUTHENTICATE" if cookie is None else f"AUTHENTICATE {cookie.read_bytes().hex()}")

    def ask(self, line: str) -> list[str]:
        """Send a command; gives the lines of the reply. Raises RuntimeError if tor refuses."""
        self._connection.sendall(line.encode() + b"\r\n")
        reply = []
        while True:
            said = self._read()
            if said.startswith("650"):
                continue
            reply.append(said)
            if _REPLY_ENDS.match(said):
                break
        if not reply[-1].startswith("2"):
            raise RuntimeError(f"tor says: {reply[-1]}")
        return reply

    def publish(self, target: Path) -> str:
        """Have a new onion service for a Unix socket published, and wait for that; gives its address."""
        self.ask("SETEVENTS HS_DESC")
        added = self.ask(f"ADD_ONION NEW:ED25519-V3 {_SERVICE} Port=80,unix:{target}")
        self.until_published()
        return added[0].removeprefix("250-ServiceID=") + ".onion"

    def until_published(self) -> None:
        """Wait until a descriptor is with every directory that tor began with; HS_DESC events must be on before."""
        under_way = published = 0
        while not published or under_way:
            match self._read().split():
                case ["650", "HS_DESC", "UPLOAD", *_]:
                    under_way += 1
                case ["650", "HS_DESC", "UPLOADED", *_]:
                    under_way -= 1
                    published += 1
                case ["650", "HS_DESC", "FAILED", *_]:
                    under_way -= 1

    def _read(self) -> str:
        line = self._lines.readline()
        if not line:
            raise RuntimeError("tor has ended the connection")
        return line.rstrip("\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._connection.close()


def _connect(where: str | Path) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            if isinstance(where, str):
                host, _, port = where.rpartition(":")
                return socket.create_connection((host, int(port)))
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(where))
            except OSError:
                connection.close()
                raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL)
        else:
            return connection
