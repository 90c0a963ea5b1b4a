"""The files by which a server and PostgreSQL know each other in TLS, as asyncpg takes them from a database's URL."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onion_rdv.rendezvous.postgres_address import DatabaseAddress

_VERIFYING = ("verify-ca", "verify-full")
_LOOKING = ("require", *_VERIFYING)
"""The values of ``sslmode`` with which the files below are read."""

_AUTHORITY = "sslrootcert"
_FILES = (_AUTHORITY, "sslcrl", "sslcert", "sslkey")

CURE = "put it where it is named, readable for the server's user; the authority's certificate is in sslrootcert"


def unusable_file(address: DatabaseAddress) -> str | None:
    """Say which file that an URL names cannot be used, and why; None where all can. Blocks."""
    if address.options.get("sslmode") not in _LOOKING:
        return None
    for setting in _FILES:
        path = address.options.get(setting)
        if path is not None and (reason := _why_unusable(path, holds_certificates=setting == _AUTHORITY)):
            return f"{path}, which the setting database names as {setting}, {reason}"
    return None


def missing_authority(address: DatabaseAddress) -> str | None:
    """Say so when a certificate is to be looked at and an URL does not say whose it has to be. Blocks.

    The authority's file is then looked for where PostgreSQL's own clients do.
    """
    if address.options.get("sslmode") not in _VERIFYING or _AUTHORITY in address.options:
        return None
    path = Path("~/.postgresql/root.crt")
    with suppress(RuntimeError):  # there is no home
        path = path.expanduser()
    reason = _why_unusable(str(path), holds_certificates=True)
    return f"{path}, where the setting database has no {_AUTHORITY}, {reason}" if reason else None


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
