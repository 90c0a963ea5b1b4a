"""The two programs of the package tor that a private network needs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from onion_rdv.errors import NoTor


@dataclass(frozen=True)
class Programs:
    """Where they are."""

    tor: str
    gencert: str


def find_programs() -> Programs:
    """Look for both on PATH; raise NoTor when one is missing."""
    found: dict[str, str] = {}
    for name in ("tor", "tor-gencert"):
        path = shutil.which(name)
        if path is None:
            raise NoTor(
                f"{name} is not on PATH; a private Tor network needs it",
                hint="install tor (on Debian and Ubuntu: apt install tor), which brings tor-gencert too",
            )
        found[name] = path
    return Programs(tor=found["tor"], gencert=found["tor-gencert"])
