"""What a command and a reply of one word have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Word:
    """A command or a reply that says all by its tag."""

    TAG: ClassVar[bytes]

    def encode(self, version: int) -> bytes:  # noqa: ARG002 - what has more to say depends on it
        """Give its bytes."""
        return self.TAG
