"""Where in a TOML text a value stands: the parser says what it holds, but not where."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def find_line(text: str, keys: Sequence[str], place: int | None = None) -> int:
    """Give the number of the line, from 1, on which the value under these nested keys begins.

    With ``place``, give the line on which that item of the list which the value is ends. ``text`` is valid TOML and
    has the value. The text's beginnings are parsed until one has it.
    """
    lines = [f"{line}\n" for line in text.split("\n")]
    first = 1  # line of the statement that is being read
    for number, line in enumerate(lines, start=1):
        if number == first and (not line.strip() or line.lstrip().startswith("#")):
            first += 1
            continue
        content = _parse("".join(lines[:number]))
        if content is None:
            continue  # in the middle of a list, or of a text of several lines
        if _holds(content, keys):
            return first if place is None else _find_item(lines, range(first, number + 1), keys, place)
        first = number + 1
    return max(1, len(lines))


def _find_item(lines: Sequence[str], numbers: Iterable[int], keys: Sequence[str], place: int) -> int:
    for number in numbers:
        # The list may end here or be closed here.
        for ending in ("", "\n]"):
            content = _parse("".join(lines[:number]) + ending)
            if content is not None and _holds(content, keys) and len(_get(content, keys)) > place:
                return number
    return max(numbers, default=1)


def _parse(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _holds(content: object, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def _get(content: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        content = content[key]
    return content
