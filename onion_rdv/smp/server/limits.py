"""What a messaging server keeps and takes; apart, so that the command line knows it without the rest."""

from __future__ import annotations

DEFAULT_LIFETIME = 21 * 24 * 3600
"""Seconds for which a message waits (simplexmq's default too)."""

DEFAULT_MAX_CONNECTIONS = 2048
"""Connections that may be open at once; the next one is closed."""
