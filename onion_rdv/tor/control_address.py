"""Where a control port is: a loopback address or a Unix socket, never a name and never another machine."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USUAL_ADDRESSES = ("unix:/run/tor/control", "unix:/var/run/tor/control", "127.0.0.1:9051", "127.0.0.1:9151")
"""Where Debian's tor, a tor with ``ControlPort 9051`` and Tor Browser's tor listen."""

_UNIX = "unix:"
UNIX_PATH_BYTES = 107
"""Bytes that the path of a Unix socket has at most: ``sun_path`` in unix(7), without its closing zero."""
_TCP = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<v4>[0-9.]+|localhost)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """The address of a control port."""

    path: str | None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``127.0.0.1:9051``, ``[::1]:9051``, ``localhost:9051`` (taken as 127.0.0.1) or ``unix:/a/path``.

        Raises :class:`~onion_rdv.errors.SettingsError` for anything else, other machines among it: a control port
        gives whoever speaks to it the whole tor, in the clear.
        """
        address = cls._parse_unix(text) if text.startswith(_UNIX) else cls._parse_tcp(text)
        if address is None:
            raise SettingsError(
                "that is not the address of a control port on this machine",
                hint="give it as 127.0.0.1:9051, [::1]:9051 or unix:/run/tor/control",
            )
        return address

    @classmethod
    def _parse_unix(cls, text: str) -> Self | None:
        path = text.removeprefix(_UNIX)
        if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > UNIX_PATH_BYTES:
            return None
        return cls(path)

    @classmethod
    def _parse_tcp(cls, text: str) -> Self | None:
        found = _TCP.fullmatch(text)
        if found is None:
            return None
        host = found["v6"] or found["v4"].replace("localhost", "127.0.0.1")
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return None
        port = int(found["port"])
        return cls(None, str(ip), port) if ip.is_loopback and 0 < port < 2**16 else None

    def open(self, timeout: float) -> socket.socket:
        """Connect within ``timeout`` seconds; blocks, and raises OSError."""
        opened = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            opened.settimeout(timeout)
            opened.connect(self.path or (self.host, self.port))
            opened.settimeout(None)
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def _family(self) -> socket.AddressFamily:
        if self.path is not None:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        if self.path is not None:
            return _UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def distinct(addresses: Iterable[str]) -> Iterator[str]:
    """Give the addresses without those that lead to a socket that was given already: /var/run is a link to /run.

    Raises :class:`~onion_rdv.errors.SettingsError` when it comes to a malformed one.
    """
    seen = set()
    for address in addresses:
        parsed = ControlAddress.parse(address)
        place = os.path.realpath(parsed.path) if parsed.path else str(parsed)
        if place not in seen:
            seen.add(place)
            yield address
