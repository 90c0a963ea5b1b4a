"""Write values that torrc reads back as they are."""

from __future__ import annotations


def quote(value: object) -> str:
    """Write a path, or any value, as torrc's quoted string, in which spaces and # stand for themselves."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
