"""Telling a disk's fault, which passes, from what somebody has to settle before a file can be used."""

from __future__ import annotations

import errno
from typing import Final

from onion_rdv.errors import StoreError

_PASSING: Final = frozenset({errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS})
"""Of a disk that is full or fails, a quota, or a limit on file sizes; the kernel makes a failing disk read-only."""


def fault(error: OSError, what: object) -> StoreError | None:
    """Give the error that is worth another attempt at ``what``; None where the disk is not to blame."""
    return failed(what, error.strerror) if error.errno in _PASSING else None


def failed(what: object, reason: str | None) -> StoreError:
    """Say of a file or directory that its disk does not let it be used now."""
    return StoreError(
        f"{what}: {reason}",
        hint="look at its disk's space, whether it is mounted read-only, and into the kernel's log (journalctl -k)",
    )
