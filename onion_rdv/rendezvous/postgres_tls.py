"""The files by which a server and PostgreSQL know each other in TLS, as asyncpg takes them from a database's URL.

What the URL does not name, it takes from the environment, as PostgreSQL's own clients do.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onion_rdv.rendezvous.postgres_address import DatabaseAddress

_VERIFYING = ("verify-ca", "verify-full")
_LOOKING = ("require", *_VERIFYING)
"""The values of ``sslmode`` with which PostgreSQL's certificate may be looked at."""

_AUTHORITY, _OWN = "sslrootcert", "sslcert"
_FILES = {_AUTHORITY: "PGSSLROOTCERT", "sslcrl": "PGSSLCRL", _OWN: "PGSSLCERT", "sslkey": "PGSSLKEY"}
"""What names each file in a URL, and what does in the environment, where the URL names none."""

_TO_LOOK_WITH = (_AUTHORITY, "sslcrl")
"""Read only where the certificate is looked at; the others are wherever TLS is tried."""

CURE = "put it where it is named, readable for the server's user; the authority's certificate is in sslrootcert"


def unusable_file(address: DatabaseAddress) -> str | None:
    """Say which file that is named and read cannot be used, and why; None where all can. Blocks."""
    mode = _mode(address)
    for setting in _FILES:
        named = _named(address, setting)
        if named is None or mode == "disable" or (setting in _TO_LOOK_WITH and mode not in _LOOKING):
            continue
        path, where = named
        if reason := _why_unusable(path, holds_certificates=setting == _AUTHORITY):
            return f"{path}, {where}, {reason}"
    return None


def missing_authority(address: DatabaseAddress) -> str | None:
    """Say so when a certificate is to be looked at and nothing says whose it has to be. Blocks.

    The authority's file is then looked for where PostgreSQL's own clients do.
    """
    if _mode(address) not in _VERIFYING or _named(address, _AUTHORITY):
        return None
    path = Path("~/.postgresql/root.crt")
    with suppress(RuntimeError):  # there is no home
        path = path.expanduser()
    reason = _why_unusable(str(path), holds_certificates=True)
    return f"{path}, where the setting database has no {_AUTHORITY}, {reason}" if reason else None


def _mode(address: DatabaseAddress) -> str:
    """Give the ``sslmode`` that holds: where none is named, TLS is tried with whatever is no Unix socket."""
    named = address.options.get("sslmode") or os.environ.get("PGSSLMODE")
    if named:
        return named
    hosts = address.hosts or os.environ.get("PGHOST", "localhost").split(",")
    return "disable" if all(host.startswith("/") for host in hosts) else "prefer"


def _named(address: DatabaseAddress, setting: str) -> tuple[str, str] | None:
    """Give the file's path, and that it is named, and where; a key of the environment's goes with a certificate."""
    if path := address.options.get(setting):
        return path, f"which the setting database names as {setting}"
    if setting == "sslkey" and _named(address, _OWN) is None:
        return None
    variable = _FILES[setting]
    path = os.environ.get(variable)
    return (path, f"which {variable} names in the environment") if path else None


def _why_unusable(path: str, *, holds_certificates: bool) -> str | None:
    import ssl

    try:
        with Path(path).open("rb"):
            pass
        if holds_certificates:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "holds no certificate"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None
