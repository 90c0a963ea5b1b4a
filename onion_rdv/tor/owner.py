"""Whose program listens at an address of this machine: tor's, as far as that can be told, or a stranger's.

Any user of a machine can listen at 127.0.0.1:9051 while no tor does, and speak as tor would. An address that nobody
named is therefore used only where the kernel says that its listener is this user's, root's (tor opens its ports
before it gives up root), or a system account's. Where the kernel does not say it, nothing is presumed: a port that
takes connections and has no listener here is forwarded from elsewhere, or its listener has just made room. Who
forwards a port can name it, too. A tor that we have started keeps its ports from everybody else while its process
runs, and is taken for itself also where the kernel does not say it.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from onion_rdv.errors import PortNotUsed
from onion_rdv.tor import users

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGER = logging.getLogger("onion_rdv.tor")

_SYSTEM: Final = range(1000)
"""Users that are no people's (Debian policy, 9.2.2); root is one of them."""

_DYNAMIC: Final = range(61184, 65520)
"""Users that systemd makes for services with ``DynamicUser=`` (systemd's "Users, Groups, UIDs and GIDs")."""

_TABLES: Final = "/proc/self/net"
_LISTEN: Final = "0A"  # TCP_LISTEN, in the kernel's Documentation/networking/proc_net_tcp.rst as are the columns
_ADDRESS, _STATE, _UID = 1, 3, 7
_MAPPED: Final = bytes(10) + b"\xff\xff"  # what precedes an IPv4 address at an IPv6 socket (RFC 4291, 2.5.5.2)
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred in unix(7): process, user, group


def of_listener(host: str, port: int) -> int | None:
    """Give the user whose socket listens at a TCP address; None where nobody does, as far as this machine knows.

    The kernel keeps an address from a second user while one listens at it, or at every address. Blocks for a moment.
    Raises OSError where it cannot be told, because the kernel's tables cannot be read: Android closes them to
    programs, and a chroot may have no ``/proc``.
    """
    address = ipaddress.ip_address(host).packed
    if len(address) == len(_MAPPED) + 4:
        return _listener("tcp6", address, port)
    owner = _listener("tcp", address, port)
    if owner is None:
        with suppress(FileNotFoundError):  # a kernel without IPv6 has the first table alone
            return _listener("tcp6", _MAPPED + address, port)
    return owner


def of_peer(connected: socket.socket) -> int | None:
    """Give the user whose socket a connected one of ours has reached, TCP or Unix; None where that cannot be told.

    Raises OSError where the connection has ended already.
    """
    if connected.family != socket.AF_UNIX:
        host, port, *_ = connected.getpeername()
        try:
            return of_listener(host, port)
        except OSError:
            return None
    said = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(said)[1]
    return uid


def is_trusted(uid: int) -> bool:
    """Say whether what this user runs is taken for what it says it is; never where we cannot see who it is."""
    return users.is_seen(uid) and (uid == os.geteuid() or uid in _SYSTEM or uid in _DYNAMIC)


def check(uid: int | None, where: str, *, option: str, runs: Callable[[], bool] | None = None) -> None:
    """Raise :class:`~onion_rdv.errors.PortNotUsed` unless ``where`` is a trusted user's; ``option`` would name it.

    Where a tor of our own listens, ``runs`` says whether its process still does. Then it does not have to be known
    whose ``where`` is.
    """
    if uid is not None and is_trusted(uid):
        return
    if uid is None or not users.is_seen(uid):
        if runs is not None and runs():
            return
        detail = f"{where} takes connections, and who listens there cannot be told"
    else:
        detail = f"{where} belongs to {users.name(uid)}, who is neither this user nor a system account"
    raise PortNotUsed(detail, hint=f"if it is tor's, name it with {option}")


def check_peer(connected: socket.socket, where: str, *, option: str, runs: Callable[[], bool] | None = None) -> None:
    """Do what :func:`check` does for a connected socket of ours.

    The usual Unix sockets are in directories that only root can make. So one is used, too, where a user namespace
    hides whose it is: a service with ``PrivateUsers=`` sees no other user than itself and root, and a container
    without root's rights none of the machine's.
    """
    uid = of_peer(connected)
    if connected.family != socket.AF_UNIX or uid is None or users.is_seen(uid):
        check(uid, where, option=option, runs=runs)


def tell(error: PortNotUsed) -> None:
    """Have the person told that a port was passed over, and why."""
    _LOGGER.warning("%s; %s", error.message, error.hint)


def _listener(table: str, address: bytes, port: int) -> int | None:
    # Each four bytes of an address are written as a number in this machine's order.
    words = struct.unpack(f"={len(address) // 4}I", address)
    here = f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
    everywhere = f"{'0' * 2 * len(address)}:{port:04X}"
    owner = None
    with open(f"{_TABLES}/{table}", encoding="ascii", buffering=2**16) as rows:  # noqa: PTH123
        for row in rows:
            columns = row.split()
            if columns[_STATE] != _LISTEN or columns[_ADDRESS] not in {here, everywhere}:
                continue
            owner = int(columns[_UID])
            if columns[_ADDRESS] == here:
                break
    return owner
