"""Where a PostgreSQL database is, and how that is said without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, unquote, urlsplit

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SCHEMES = ("postgresql", "postgres")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LARGEST_PORT = 65535

_HINT = (
    "write postgresql://USER:PASSWORD@HOST/DATABASE (percent-encode what is no letter or digit in the password),"
    " or postgresql:///DATABASE?host=/run/postgresql for one on this machine"
)

_HOST = re.compile(r"(?P<name>\[[^\[\]]+\]|[^\[\]:]+)(?::(?P<port>.*))?", re.DOTALL)
"""A name or an address, in brackets where it has colons, and perhaps a port."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A connection URI of PostgreSQL (libpq's documentation, section "Connection URIs")."""

    url: str = field(repr=False)
    name: str
    """For people: where the database is, without who asks it and how."""

    hosts: Sequence[str]
    """Where it is looked for, each with its port if it has one, or with a slash first: a Unix socket's directory."""

    options: Mapping[str, str] = field(repr=False)
    """What stands behind the question mark, by name; of a name that stands there twice, what comes last."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Look at a URL; raises :class:`~onion_rdv.errors.SettingsError`, which does not repeat it.

        One that is taken can be meant: whatever cannot be a host, a port or a mode of TLS is refused.
        """
        try:
            parts = urlsplit(url)
            given = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        except ValueError:
            raise _refused() from None
        options = {option: values[-1] for option, values in given.items()}
        # An @ or a fragment behind the host is the rest of a password that should have been encoded.
        if parts.scheme not in _SCHEMES or "@" in parts.path or parts.fragment or not url.isprintable():
            raise _refused()
        user, at, place = parts.netloc.rpartition("@")
        if "@" in user:  # the same, before the host
            raise _refused()
        named = place or options.get("host", "")
        hosts = named.split(",") if named else []
        _check_hosts(hosts, is_alone=not at)
        _check_ports(options.get("port"), len(hosts) or 1)
        if options.get("sslmode", "prefer") not in _SSL_MODES:
            raise SettingsError("sslmode in database is none", hint=f"it is one of {', '.join(_SSL_MODES)}")
        database = unquote(parts.path.lstrip("/")) or options.get("dbname", options.get("database"))
        name = f"PostgreSQL on {unquote(named) or 'this machine'}" + (f" (database {database})" if database else "")
        return cls(url, name, [unquote(host) for host in hosts], options)


def _check_hosts(hosts: Sequence[str], *, is_alone: bool) -> None:
    """Look at hosts, each of which may have a port; where nobody who asks ``is_alone``, one may be a password."""
    for host in hosts:
        if host.startswith("/"):  # the directory of a Unix socket
            continue
        found = _HOST.fullmatch(host)
        if found is None or not _is_name(unquote(found["name"])):
            raise _refused()
        if found["port"] and not _is_port(found["port"]):
            raise _refused() if is_alone else _bad_port()


def _check_ports(ports: str | None, hosts: int) -> None:
    """Look at ports that stand apart from their hosts: one for all, or one for each."""
    if ports is None:
        return
    given = ports.split(",")
    if not all(map(_is_port, given)) or len(given) not in {1, hosts}:
        raise _bad_port()


def _is_name(text: str) -> bool:
    try:
        text.encode("idna")
    except UnicodeError:
        return text.startswith("/")
    return text.isprintable()


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) <= _LARGEST_PORT


def _refused() -> SettingsError:
    return SettingsError("database is not the URL of a PostgreSQL database", hint=_HINT)


def _bad_port() -> SettingsError:
    return SettingsError(
        f"a port in database is no number from 1 to {_LARGEST_PORT}, or there are not as many as hosts", hint=_HINT
    )
