"""The listening socket that the service manager keeps for the service (sd_listen_fds(3), systemd.socket(5)).

It stays open, and takes connections in, while the service is started anew.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FIRST = 3
_COUNT = "LISTEN_FDS"
_PID = "LISTEN_PID"
_NAMES = "LISTEN_FDNAMES"
_HINT = "let the socket unit have one ListenStream=, with an absolute path, and Accept=no"


def inherited_listener(environment: MutableMapping[str, str]) -> socket.socket | None:
    """Take over the Unix stream socket that was passed to this process; None where none was.

    The variables that tell of it are taken out of ``environment``, and no child inherits it. Raises
    :class:`~onion_rdv.errors.SettingsError` for several sockets, or one of another kind.
    """
    count = environment.pop(_COUNT, "0")
    environment.pop(_NAMES, None)
    if environment.pop(_PID, "") != str(os.getpid()) or count == "0":
        return None
    if count != "1":
        raise SettingsError(f"the service manager passes {count} sockets in place of one", hint=_HINT)
    try:
        passed = socket.socket(fileno=_FIRST)
    except OSError as error:
        raise SettingsError(f"what the service manager passes is no socket ({error.strerror})", hint=_HINT) from None
    passed.set_inheritable(False)
    if passed.family != socket.AF_UNIX or not _listens(passed) or not _is_named(passed):
        passed.close()
        raise SettingsError("the service manager passes no Unix stream socket that listens at a path", hint=_HINT)
    return passed


def _listens(passed: socket.socket) -> bool:
    return passed.type == socket.SOCK_STREAM and bool(passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _is_named(passed: socket.socket) -> bool:
    name = passed.getsockname()
    return isinstance(name, str) and name.startswith("/")
