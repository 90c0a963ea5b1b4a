"""Open files: each connection is one, and a process has to be allowed them."""

from __future__ import annotations

import resource

from onion_rdv.errors import SettingsError

_OTHERS = 64
"""Files that a server has open beside its connections: store, control port, standard streams, and some air."""


def allow_open_files(max_connections: int) -> None:
    """Have this process allowed to have as many connections open, where it may be.

    Raises :class:`~onion_rdv.errors.SettingsError` where it may not.
    """
    needed = max_connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        except (OSError, ValueError):  # it is more than the hard limit, or something forbids any change
            raise SettingsError(
                f"for {max_connections} connections this process needs {needed} open files, and it may have {soft}",
                hint="lower max_connections, or raise the limit (LimitNOFILE= in the unit, ulimit -n)",
                settings=("max_connections",),
            ) from None
