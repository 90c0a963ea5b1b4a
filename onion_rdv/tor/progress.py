"""How long work tells that it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called again and again while something long is under way."""

    def __call__(self, percent: int, what: str) -> None:
        """``percent`` (0 to 100) is done; ``what`` says in a few words what comes now."""


def silent(percent: int, what: str) -> None:
    """Tell nobody."""
