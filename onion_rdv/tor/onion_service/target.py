"""The Unix socket that tor hands streams to: open to tor, and to nobody else where that can be had."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def let_tor_in(socket: Path, tor_uid: int | None) -> None:
    """Give tor's user access to a socket of ours that only we can use so far. Blocks.

    Where tor runs as another user: root gives it the socket; others give it to a group that both are in, and where
    there is none open it to everybody, since whoever may connect through Tor may as well connect from here.
    ``tor_uid`` is None where tor does not say. Raises :class:`~onion_rdv.errors.SettingsError` where tor cannot
    enter a directory on the way to it.
    """
    if tor_uid in {os.geteuid(), 0}:
        return
    groups = _groups(tor_uid)
    for directory in socket.absolute().parents:
        if not _may(directory.stat(), 0o1, tor_uid, groups):
            raise SettingsError(
                f"tor runs as {_name(tor_uid)} and cannot enter {directory} on the way to {socket}",
                hint="name a socket in a directory that it can enter, with --listen",
            )
    shared = groups & {os.getegid(), *os.getgroups()}
    if os.geteuid() == 0 and tor_uid is not None:
        os.chown(socket, tor_uid, -1)
    elif shared:
        os.chown(socket, -1, min(shared))
        socket.chmod(0o660)
    else:
        socket.chmod(0o666)


def _may(status: os.stat_result, bits: int, uid: int | None, groups: set[int]) -> bool:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == uid:
        return mode >> 6 & bits == bits
    if status.st_gid in groups:
        return mode >> 3 & bits == bits
    return mode & bits == bits


def _groups(uid: int | None) -> set[int]:
    if uid is None:
        return set()
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return set()
    return {user.pw_gid, *(group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem)}


def _name(uid: int | None) -> str:
    if uid is None:
        return "another user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
