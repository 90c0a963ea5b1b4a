"""SMP, the SimpleX messaging protocol, versions 15 to 18: its language (``wire``), a client, a small server."""
