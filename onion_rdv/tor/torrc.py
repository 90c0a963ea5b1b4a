"""Write values that torrc reads back as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def quote(path: Path) -> str:
    """Write a path as torrc's quoted string, in which spaces and # stand for themselves (tor manual, "torrc")."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
