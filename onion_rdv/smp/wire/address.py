"""Addresses of messaging servers: ``smp://FINGERPRINT[:PASSWORD]@HOST[,HOST][:PORT]`` (docs/smp.md, "Servers")."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Self

from onion_rdv.errors import UsageError
from onion_rdv.protocol import base64url
from onion_rdv.protocol.host import canonical_host, is_onion
from onion_rdv.protocol.short_link import SMP_PORT

_ADDRESS: Final = re.compile(
    r"smp://(?P<fingerprint>[A-Za-z0-9_-]{43}=?)(?::(?P<password>[!-~]+?))?@(?P<hosts>[A-Za-z0-9_.,-]+)(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class SmpServer:
    """A messaging server: its identity (32 bytes, SHA-256 of its CA certificate), its host names, and its port.

    ``key_hash`` is empty where a link does not say it. ``password`` is what the server wants for making queues, if it
    wants one.
    """

    key_hash: bytes
    hosts: tuple[str, ...]
    port: int = SMP_PORT
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; raises :class:`~onion_rdv.errors.UsageError`, which does not repeat what may be secret."""
        found = _ADDRESS.fullmatch(text.strip())
        if found is None:
            raise _malformed("it is not of the form smp://FINGERPRINT[:PASSWORD]@HOST[:PORT]")
        key_hash = base64url.decode(found["fingerprint"])
        try:
            hosts = tuple(canonical_host(host.lower()) for host in found["hosts"].split(","))
        except ValueError as error:
            raise _malformed(str(error)) from None
        port = int(found["port"] or SMP_PORT)
        if not 0 < port < 2**16:
            raise _malformed("its port is none")
        return cls(key_hash, hosts, port, found["password"])

    @property
    def fingerprint(self) -> str:
        """The identity as addresses spell it: 43 characters of base64url."""
        return base64url.encode(self.key_hash)

    @property
    def host(self) -> str:
        """The host to use: an onion service where one is named."""
        return next((host for host in self.hosts if is_onion(host)), self.hosts[0])

    def __str__(self) -> str:
        """Write the address without the password."""
        return self._write("")

    def with_password(self) -> str:
        """Write the address with the password, for who may know it."""
        return self._write("" if self.password is None else f":{self.password}")

    def _write(self, password: str) -> str:
        port = "" if self.port == SMP_PORT else f":{self.port}"
        return f"smp://{self.fingerprint}{password}@{','.join(self.hosts)}{port}"


def _malformed(detail: str) -> UsageError:
    return UsageError(
        f"that is not a messaging server's address: {detail}",
        hint="give it as smp://FINGERPRINT@HOST.onion, as the server's operator or your app shows it",
    )
