"""Where a PostgreSQL database is, and how that is said without its password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, unquote, urlsplit

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMES = ("postgresql", "postgres")
_HINT = (
    "write postgresql://USER:PASSWORD@HOST/DATABASE (percent-encode what is no letter or digit in the password),"
    " or postgresql:///DATABASE?host=/run/postgresql for one on this machine"
)


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A connection URI of PostgreSQL (libpq's documentation, section "Connection URIs")."""

    url: str = field(repr=False)
    name: str
    """For people: where the database is, without who asks it and how."""

    options: Mapping[str, str] = field(repr=False)
    """What stands behind the question mark, by name; of a name that stands there twice, what comes last."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Look at a URL; raises :class:`~onion_rdv.errors.SettingsError`, which does not repeat it."""
        try:
            parts = urlsplit(url)
            options = {option: values[-1] for option, values in parse_qs(parts.query).items()}
        except ValueError:
            raise _refused() from None
        # An @ or a fragment behind the host is the rest of a password that should have been encoded.
        if parts.scheme not in _SCHEMES or "@" in parts.path or parts.fragment or not url.isprintable():
            raise _refused()
        hosts = unquote(parts.netloc.rpartition("@")[2]) or options.get("host") or "this machine"
        database = unquote(parts.path.lstrip("/")) or options.get("dbname", options.get("database"))
        if ":" in parts.netloc and "@" not in parts.netloc and not _has_port(parts.netloc):
            raise _refused()
        return cls(url, f"PostgreSQL on {hosts}" + (f" (database {database})" if database else ""), options)


def _has_port(hosts: str) -> bool:
    return all(host.endswith("]") or host.rpartition(":")[2].isdigit() for host in hosts.split(",") if ":" in host)


def _refused() -> SettingsError:
    return SettingsError("database is not the URL of a PostgreSQL database", hint=_HINT)
