"""What a harness is, and how it finds its corpus."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS: Final = Path(__file__).parent / "corpus"

_MODULES: Final = ("addresses", "control", "files", "messaging", "rendezvous", "requests", "talks")
"""In these modules of this package stand the harnesses."""


@dataclass(frozen=True)
class Harness:
    """One parser and what has to hold for whatever bytes it is given.

    ``run`` says whether they were understood. It raises an error where they were neither understood nor refused in
    the way that is promised, or where what was understood does not write back to what means the same.
    """

    name: str
    run: Callable[[bytes], bool]

    @property
    def corpus(self) -> Path:
        """The directory of the inputs that are kept for it."""
        return CORPUS / self.name

    @property
    def inputs(self) -> list[Path]:
        """The inputs that are kept for it, in their order."""
        return sorted(self.corpus.iterdir())


_registered: dict[str, Harness] = {}


def harness(run: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """Make a harness of a function, with the function's name."""
    _registered[run.__name__] = Harness(run.__name__, run)
    return run


def harnesses() -> dict[str, Harness]:
    """Give them all by name, and in the order of the names."""
    for module in _MODULES:
        import_module(f"fuzz.{module}")
    return dict(sorted(_registered.items()))


def text(data: bytes) -> str:
    """Give the text that a person or a file would have to give; not all of it has to be good Unicode."""
    return data.decode("utf-8", "surrogateescape")


def halves(data: bytes) -> tuple[bytes, bytes]:
    """Take two inputs out of one; the first two bytes are the length of the first."""
    end = 2 + int.from_bytes(data[:2])
    return data[2:end], data[end:]


def pieces(data: bytes) -> list[bytes]:
    """Take out of one input how a stream comes in pieces; the first byte is the size of one, 0 for all at once."""
    size, stream = data[:1], data[1:]
    step = int.from_bytes(size) or len(stream) or 1
    return [stream[start : start + step] for start in range(0, len(stream), step)]
