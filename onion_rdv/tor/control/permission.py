"""Why a file of tor's cannot be used by this user, and what would help: named down to the group."""

from __future__ import annotations

import grp
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Trouble(NamedTuple):
    """What is wrong, and what to do about it."""

    detail: str
    hint: str


def denied(path: Path, need: int) -> Trouble:
    """Explain why this user lacks ``need`` (``os.R_OK`` or ``os.W_OK``) on ``path``, a file or socket of tor's."""
    for place in (*reversed(path.parents), path):
        wanted = need if place == path else os.X_OK
        try:
            status = place.stat()
        except FileNotFoundError:
            return Trouble(
                f"{place} does not exist", "look whether tor runs in a container or under another root directory"
            )
        except OSError as error:
            return Trouble(f"{place}: {error.strerror}", "look at its permissions")
        if not os.access(place, wanted, effective_ids=True):
            return _shut(place, status, wanted)
    return Trouble(f"{path} cannot be used", "look at its permissions")


def _shut(place: Path, status: os.stat_result, wanted: int) -> Trouble:
    group = _group_name(status.st_gid)
    detail = f"{place} is closed to this user (mode {stat.S_IMODE(status.st_mode):04o}, group {group})"
    if status.st_mode & (wanted << 3):
        return Trouble(detail, f"add this user to the group {group} (usermod -aG {group} USER), and log in again")
    if stat.S_ISDIR(status.st_mode):
        return Trouble(detail, "let tor keep the file in a directory that this user may enter")
    return Trouble(detail, "let tor give its group access (CookieAuthFileGroupReadable 1 in torrc)")


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
