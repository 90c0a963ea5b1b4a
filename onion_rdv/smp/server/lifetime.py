"""How long a message waits; apart, so that the command line knows it without the rest of the server."""

DEFAULT_LIFETIME = 21 * 24 * 3600
"""Seconds for which a message waits (simplexmq's default too)."""
