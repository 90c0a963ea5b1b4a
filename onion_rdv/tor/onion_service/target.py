"""The Unix socket that tor hands streams to: open to tor, and to nobody else where that can be had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError
from onion_rdv.tor import users

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
    who = "another user" if tor_uid is None else users.name(tor_uid)
    for directory in socket.absolute().parents:
        if not users.may(tor_uid, directory.stat(), 0o1):
            raise SettingsError(
                f"tor runs as {who} and cannot enter {directory} on the way to {socket}",
                hint="name a socket in a directory that it can enter, with --listen",
            )
    groups = set() if tor_uid is None else users.groups(tor_uid)
    shared = groups & {os.getegid(), *os.getgroups()}
    if os.geteuid() == 0 and tor_uid is not None:
        os.chown(socket, tor_uid, -1)
    elif shared:
        os.chown(socket, -1, min(shared))
        socket.chmod(0o660)
    else:
        socket.chmod(0o666)
