"""A network namespace in which a few ports of the loopback lead out, and nothing else does: no route, no name server.

Run as a program, this file is the process that holds the namespace: it listens there, and hands the listening sockets
to whoever started it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from forwarding import served
from identity import acting_as

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from forwarding import Serve

_IS_ROOT = os.geteuid() == 0
_UNSHARE = ("unshare", "--net") if _IS_ROOT else ("unshare", "--user", "--map-root-user", "--net")
_ENTER = ("--net",) if _IS_ROOT else ("--user", "--preserve-credentials", "--net")
_PATIENCE = 30.0


@asynccontextmanager
async def lone_network(ports: Mapping[str, Serve], *, uid: int = 0) -> AsyncIterator[tuple[str, ...]]:
    """Make a network in which each of these addresses (``127.0.0.1:PORT``) is served by a function of ours.

    Where root runs the tests, the ports are ``uid``'s. Gives the wrapper with which programs run in it. Skips the
    test where this machine allows no such thing.
    """
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no network namespaces here; they need root, or user namespaces")
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            holder = subprocess.Popen(
                [*_UNSHARE, sys.executable, __file__, str(theirs.fileno()), str(uid), *ports],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        assert holder.stdin is not None
        with holder, holder.stdin:  # it ends when nobody has its stdin any more
            ours.settimeout(_PATIENCE)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, len(ports))
            listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            async with served(zip(listeners, ports.values(), strict=True)):
                yield ("nsenter", f"--target={holder.pid}", *_ENTER, "--")


def _hold(channel: int, uid: int, addresses: list[str]) -> None:
    with socket.socket() as any_socket:  # the program ip may not be installed
        up = struct.pack("16sh22x", b"lo", 1)  # struct ifreq with IFF_UP
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    places = [address.rpartition(":") for address in addresses]
    with acting_as(uid):
        listeners = [socket.create_server((host, int(port))) for host, _, port in places]
    with socket.socket(fileno=channel) as parent:
        socket.send_fds(parent, [b"."], [listener.fileno() for listener in listeners])
    for listener in listeners:
        listener.close()
    sys.stdin.read()


if __name__ == "__main__":
    _hold(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
