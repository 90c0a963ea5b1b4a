"""Where the parts of a private network are found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Network:
    """A private Tor network that is up; addresses are ``127.0.0.1:PORT``.

    ``client_socks`` has ``ExtendedErrors`` and the default isolation; the control ports want the cookie
    (``CookieAuthentication``). The service tor has no SOCKS port. ``torrc`` is a file with the lines that any other
    tor needs to join the network.
    """

    directory: Path
    client_socks: str
    client_control: str
    service_control: str
    torrc: Path
    keeper_pid: int

    def environment(self) -> dict[str, str]:
        """Name the variables that make onion-rdv's commands use this network."""
        return {
            "ONION_RDV_SOCKS": self.client_socks,
            "ONION_RDV_SOCKS_CONTROL": self.client_control,
            "ONION_RDV_CONTROL": self.service_control,
            "ONION_RDV_TORRC": str(self.torrc),
        }

    def to_json(self) -> dict[str, Any]:
        """Write as an object of JSON."""
        return {
            "directory": str(self.directory),
            "client_socks": self.client_socks,
            "client_control": self.client_control,
            "service_control": self.service_control,
            "torrc": str(self.torrc),
            "keeper_pid": self.keeper_pid,
        }

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(
            directory=Path(written["directory"]),
            client_socks=written["client_socks"],
            client_control=written["client_control"],
            service_control=written["service_control"],
            torrc=Path(written["torrc"]),
            keeper_pid=written["keeper_pid"],
        )
