"""Tor's hidden-service options as blocks, so that ours can be changed and all others stay as they are.

``GETCONF HiddenServiceOptions`` gives one ordered list; every ``HiddenServiceDir`` in it begins a service.
``SETCONF`` of any of these options replaces the whole list (tor's manual, "Onion service options").
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Option = tuple[str, str]
"""A name, and a value as GETCONF sends it: bare, or in quotes with C escapes where it begins with a quotation mark
or holds #, a control character or a byte beyond ASCII."""

Block = tuple[Option, ...]

DIRECTORY = "HiddenServiceDir"
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_NAMED_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


def blocks(options: Iterable[Option]) -> list[Block]:
    """Split the list at every ``HiddenServiceDir``."""
    split: list[list[Option]] = []
    for option in options:
        if option[0] == DIRECTORY or not split:
            split.append([])
        split[-1].append(option)
    return [tuple(block) for block in split]


def position(services: Sequence[Block], directory: str) -> int | None:
    """Find the block of a directory."""
    for number, block in enumerate(services):
        name, value = block[0]
        if name == DIRECTORY and os.path.normpath(plain(value)) == os.path.normpath(directory):
            return number
    return None


def merged(old: Block, new: Block, managed: frozenset[str]) -> Block:
    """Give ``new``, and after it what ``old`` has of options that are not ``managed``."""
    names = managed | {name for name, _ in new}
    return new + tuple(option for option in old if option[0] not in names)


def same(one: Block, other: Block) -> bool:
    """Whether two blocks say the same."""
    return sorted((name, plain(value)) for name, value in one) == sorted(
        (name, plain(value)) for name, value in other
    )


def setconf(services: Sequence[Block]) -> str:
    """Write the command that makes these the only services; with none of them, it takes all away."""
    if not services:
        return f"RESETCONF {DIRECTORY}"
    words = [f"{name}={_quoted(value)}" for block in services for name, value in block]
    return " ".join(["SETCONF", *words])


def escaped(text: str) -> str:
    """Write a value of our own as GETCONF would send it."""
    if text.isascii() and text.isprintable() and "#" not in text and not text.startswith('"'):
        return text
    return _in_quotes(os.fsencode(text))


def plain(value: str) -> str:
    """Take a value out of its quotes and escapes."""
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    return os.fsdecode(_ESCAPE.sub(_unescape, value[1:-1].encode("latin-1")))


def _unescape(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if escape[0] in b"01234567":
        return bytes([int(escape, 8) & 0xFF])
    if len(escape) == 3:
        return bytes([int(escape[1:], 16)])
    return _NAMED_ESCAPES.get(escape, escape)


def _quoted(value: str) -> str:
    return value if value.startswith('"') else _in_quotes(value.encode("latin-1"))


def _in_quotes(text: bytes) -> str:
    characters = (
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}" for byte in text
    )
    return f'"{"".join(characters)}"'
