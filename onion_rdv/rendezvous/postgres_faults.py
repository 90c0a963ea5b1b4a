"""What faults of PostgreSQL mean for whoever runs the server."""

from __future__ import annotations

import ssl

import asyncpg

from onion_rdv.errors import RdvError, StoreError
from onion_rdv.storage.faults import fault_inside

_GOES_ON = "look whether it runs and into its log; the server goes on by itself when it is back"

_NO_TLS = "rejected SSL upgrade"
"""What asyncpg says of a PostgreSQL that has none, with no other mark."""

# By SQLSTATE, or what it begins with (PostgreSQL's documentation, appendix A); the longest that fits counts.
_FAULTS = {
    "08": ("the connection to {name} has ended", _GOES_ON),
    "23": ("what stands in the tables on {name} contradicts itself", "put a backup back"),
    "25006": ("{name} cannot be written: it is a standby", "name the primary in database"),
    "28": ("{name} does not let this server in", "check user and password in database, and PostgreSQL's pg_hba.conf"),
    "3D000": ("{name} does not exist", "make it (createdb), owned by the role that database names"),
    "40": ("{name} gave up on a transaction", _GOES_ON),
    "42501": ("{name} does not let this server make or use its tables", "make its role the owner of the database"),
    "42704": (
        "{name} does not know something that stands behind the question mark in database",
        "take out of the URL what is no parameter of a connection",
    ),
    "42": ("the tables on {name} are not as this version left them", "put a backup back, or name another database"),
    "53100": ("there is no space left for {name}", "free some space on its disk; the server goes on by itself"),
    "53300": ("{name} has no connection left", "raise max_connections there: each server takes up to four"),
    "53": ("{name} has no memory left", _GOES_ON),
    "55P03": ("{name} takes too long", _GOES_ON),
    "57014": ("{name} takes too long", _GOES_ON),
    "57": ("{name} is stopping or starting", _GOES_ON),
    "58": ("the disk under {name} fails", "look into PostgreSQL's log, and into the kernel's (journalctl -k)"),
    "XX": ("{name} is damaged", "look into PostgreSQL's log, and put a backup back"),
}


def explain(error: Exception, name: str) -> StoreError:
    """Say it with its cause and cure, but with none of PostgreSQL's words: they can hold values.

    ``name`` is the database's, for people.
    """
    if isinstance(error, StoreError):
        return error
    if isinstance(error, asyncpg.ClientConfigurationError):
        return StoreError(
            "the URL in the setting database cannot be used", hint="see PostgreSQL's documentation of connection URIs"
        )
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, name)
    if isinstance(error, ConnectionError) and _NO_TLS in str(error):
        return StoreError(f"{name} does not speak TLS", hint="set ssl = on in postgresql.conf; sslmode demands it")
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return StoreError(f"{name} does not answer ({error.strerror or type(error).__name__})", hint=_GOES_ON)
    state = _state(error)
    return fault_inside(error) if state is None else _by_state(state, name)


def _of_tls(error: ssl.SSLError, name: str) -> StoreError:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", type(error).__name__)
        return StoreError(
            f"{name} has a certificate that this server does not trust ({reason})",
            hint="sslrootcert in database has to name the file of its authority, and it has to be for the"
            " host that database names; look whether it has expired",
        )
    reason = getattr(error, "reason", None) or type(error).__name__
    return StoreError(
        f"{name} and this server do not agree on TLS ({reason})",
        hint="look at what database says of TLS (sslmode, sslcert, sslkey), at postgresql.conf, and into its log",
    )


def _state(error: Exception) -> str | None:
    """Give the SQLSTATE of an error, or the one that comes closest where asyncpg raised it itself."""
    match error:
        case asyncpg.PostgresError():
            return error.sqlstate or ""
        case asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return "08000"  # what they say is that the connection is closed, or came to nothing
        case TimeoutError():
            return "57014"
    return None


def _by_state(state: str, name: str) -> StoreError:
    for size in (5, 2):
        if fault := _FAULTS.get(state[:size]):
            return StoreError(fault[0].format(name=name), hint=fault[1])
    return StoreError(f"{name} refuses a statement (SQLSTATE {state})", hint=RdvError.default_hint)
