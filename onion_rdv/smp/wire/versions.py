"""Which version of SMP brought which field, among those that are spoken here (docs/smp.md)."""

from __future__ import annotations

from typing import Final

SERVICE_FIELD: Final = 16
"""Where a service that signs or subscribes as well would be named; there is none here."""

NOTIFIER_FIELD: Final = 17
"""Where keys for notifications would stand; there are none here."""
