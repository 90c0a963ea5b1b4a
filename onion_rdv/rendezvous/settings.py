"""What the operator of a rendezvous server decides; it can be looked at without loading the server itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from onion_rdv.errors import SettingsError
from onion_rdv.protocol import DEFAULT_PORT
from onion_rdv.rendezvous.limits import (
    DEFAULT_MAX_CIRCUIT_STORES,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_REQUEST_TIMEOUT,
    CircuitLimits,
)
from onion_rdv.rendezvous.postgres_address import DatabaseAddress
from onion_rdv.rendezvous.postgres_tls import CURE, unusable_file
from onion_rdv.rendezvous.rules import DEFAULT_LIFETIME, DEFAULT_MAX_NEW_BUCKETS, DEFAULT_WINDOW, Ceiling, Rules
from onion_rdv.tor.onion_service.hosting import HostSettings

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServerSettings(HostSettings):
    """What an operator decides; ``window`` and ``lifetime`` are seconds, ``max_new_buckets`` as many a minute.

    ``max_circuit_stores`` is what one circuit may bring in a minute or two, where there are ``circuit_ids``;
    ``max_connections`` may be open, each of which has ``request_timeout`` seconds for a request and for its reply.
    ``database`` is the URL of a PostgreSQL database in place of the file in the state directory (``opening.py``).
    ``admin_socket`` is where ``onion-rdv status`` and its kin ask, by default in the state directory; at
    ``metrics_socket``, if there is one, Prometheus does.
    """

    SOCKET: ClassVar[str] = "web.socket"

    port: int = DEFAULT_PORT
    window: int = DEFAULT_WINDOW
    lifetime: int = DEFAULT_LIFETIME
    max_new_buckets: int = DEFAULT_MAX_NEW_BUCKETS
    database: str | None = field(default=None, repr=False)
    admin_socket: Path | None = None
    metrics_socket: Path | None = None
    max_circuit_stores: int = DEFAULT_MAX_CIRCUIT_STORES
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT

    def check(self) -> None:
        """See :meth:`HostSettings.check`."""
        HostSettings.check(self)
        _ = self.rules
        if self.database is not None:
            unusable = unusable_file(DatabaseAddress.parse(self.database))
            if unusable is not None:
                raise SettingsError(unusable, hint=CURE, settings=("database",))
        sockets = [socket for socket in (self.socket, self.admin_socket, self.metrics_socket) if socket is not None]
        if len(set(sockets)) < len(sockets):
            raise SettingsError(
                "two sockets have the same path",
                hint="give each a name of its own",
                settings=("listen", "admin_socket", "metrics_socket"),
            )

    @property
    def circuits(self) -> CircuitLimits | None:
        """What one circuit may do; None where nobody says on which one a stream came."""
        return CircuitLimits(self.max_streams, self.max_circuit_stores) if self.circuit_ids else None

    @property
    def rules(self) -> Rules:
        """What the store goes by; raises :class:`~onion_rdv.errors.SettingsError`."""
        return Rules(self.window, self.lifetime, Ceiling(self.max_new_buckets))
