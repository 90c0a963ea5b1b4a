"""What clients may take of a server, unless its operator decides otherwise."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MAX_CONNECTIONS = 2048
"""Connections that may be open at once; the next one is told "busy" and closed."""

DEFAULT_REQUEST_TIMEOUT = 30.0
"""Seconds for a request to come: half of them for its head (or for the next one to begin), half for its body."""

DEFAULT_MAX_CIRCUIT_STORES = 4
"""Entries that one circuit may bring: an honest client brings one, and more only where it tries again at once."""


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """What one circuit may do at most: ``streams`` open at a time, ``stores`` in a minute or two; 0 is any number."""

    streams: int
    stores: int = DEFAULT_MAX_CIRCUIT_STORES
