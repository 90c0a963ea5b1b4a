"""The machine's users: who tor runs as, and what that user may do. Everything here blocks for a moment."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

_EVERYBODY: Final = 2**32 - 1
"""How many users there can be: the number that is left over means none."""

_USUAL_STAND_IN: Final = 65534


def name(uid: int) -> str:
    """Give a user's name, or the number where there is no such user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def groups(uid: int) -> set[int]:
    """Give the ids of a user's groups; none where there is no such user."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return set()
    return set(os.getgrouplist(user.pw_name, user.pw_gid))


def is_seen(uid: int) -> bool:
    """Say whether we see a user's files as theirs; not where a user namespace that lacks them makes them nobody's.

    So it is for a service with ``PrivateUsers=`` (systemd.exec(5), user_namespaces(7)), and in a container without
    root's rights. Where anybody is lacking, it is so, too, for the user as whom all those are shown
    (``overflowuid``, 65534): that can be a user of the namespace, or any other.
    """
    try:
        rows = Path("/proc/self/uid_map").read_text("ascii").splitlines()
    except OSError:
        return True
    ranges = [range(int(first), int(first) + int(count)) for first, _, count in map(str.split, rows)]
    if not any(uid in users for users in ranges):
        return False
    return sum(map(len, ranges)) == _EVERYBODY or uid != _stand_in()


def _stand_in() -> int:
    """Give the user as whom the kernel shows those whom a user namespace lacks (proc_sys_kernel(5))."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
    except OSError:
        return _USUAL_STAND_IN


def may(uid: int | None, status: os.stat_result, bits: int) -> bool:
    """Say whether a user may do what ``bits`` say (4 read, 2 write, 1 enter) with what ``status`` is of.

    ``uid`` is None for a user who is not known, and then only what everybody may is granted. Where we cannot see what
    is theirs, we do not say that they may not.
    """
    if uid == 0 or (uid is not None and not is_seen(uid)):
        return True
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == uid:
        return mode >> 6 & bits == bits
    if uid is not None and status.st_gid in groups(uid):
        return mode >> 3 & bits == bits
    return mode & bits == bits
