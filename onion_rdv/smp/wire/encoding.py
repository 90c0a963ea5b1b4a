"""SMP's encodings: byte strings with their lengths, optional values, flags; big-endian (docs/smp.md, "Encodings")."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from onion_rdv.errors import MalformedBlock

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_PADDING = b"#"
_NOTHING, _SOMETHING = b"0", b"1"
_TRUE, _FALSE = b"T", b"F"


class Versions(NamedTuple):
    """The versions that one side speaks, from the least to the greatest."""

    least: int
    greatest: int

    def encode(self) -> bytes:
        """Give the 4 bytes of the range."""
        return self.least.to_bytes(2, "big") + self.greatest.to_bytes(2, "big")

    def common(self, other: Versions) -> int | None:
        """Give the greatest version that both speak; None where there is none."""
        version = min(self.greatest, other.greatest)
        return version if version >= max(self.least, other.least) else None


class Reader:
    """Takes bytes apart from front to back.

    ``what`` names them for a person. Every method raises :class:`~onion_rdv.errors.MalformedBlock` where the bytes
    are not what is asked for, and nothing else.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._place = 0
        self._what = what

    def fault(self, detail: str) -> MalformedBlock:
        """Make the error that says what is wrong."""
        return MalformedBlock(f"{self._what}: {detail}")

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._place

    def take(self, size: int) -> bytes:
        """Take so many bytes."""
        end = self._place + size
        if end > len(self._data):
            raise self.fault("it is cut short")
        taken = self._data[self._place : end]
        self._place = end
        return taken

    def peek(self) -> bytes:
        """Look at the next byte; empty at the end."""
        return self._data[self._place : self._place + 1]

    def u8(self) -> int:
        """Take a number of 1 byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Take a number of 2 bytes."""
        return int.from_bytes(self.take(2), "big")

    def i64(self) -> int:
        """Take a signed number of 8 bytes."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def short(self, *sizes: int) -> bytes:
        """Take a byte string of up to 255 bytes; where ``sizes`` are given, of one of them."""
        value = self.take(self.u8())
        if sizes and len(value) not in sizes:
            raise self.fault(f"a part of it has {len(value)} bytes")
        return value

    def large(self) -> bytes:
        """Take a byte string of up to 65,535 bytes."""
        return self.take(self.u16())

    def boolean(self) -> bool:
        """Take a flag."""
        value = self.take(1)
        if value not in {_TRUE, _FALSE}:
            raise self.fault("a flag in it is neither T nor F")
        return value == _TRUE

    def maybe(self, read: Callable[[], _T]) -> _T | None:
        """Take a value that need not be there."""
        value = self.take(1)
        if value not in {_NOTHING, _SOMETHING}:
            raise self.fault("an optional part of it is neither there nor missing")
        return read() if value == _SOMETHING else None

    def several(self, read: Callable[[], _T]) -> list[_T]:
        """Take up to 255 values after their number."""
        return [read() for _ in range(self.u8())]

    def versions(self) -> Versions:
        """Take a range of versions."""
        least, greatest = self.u16(), self.u16()
        if least > greatest:
            raise self.fault("its range of versions is upside down")
        return Versions(least, greatest)

    def expect(self, literal: bytes) -> None:
        """Take exactly these bytes."""
        if self.take(len(literal)) != literal:
            raise self.fault("something stands where something else belongs")

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(self.left)

    def end(self) -> None:
        """See that nothing is left."""
        if self.left:
            raise self.fault("there is more than belongs there")


def short(value: bytes) -> bytes:
    """Write a byte string of up to 255 bytes; raises :class:`OverflowError` for a longer one."""
    return len(value).to_bytes(1, "big") + value


def large(value: bytes) -> bytes:
    """Write a byte string of up to 65,535 bytes; raises :class:`OverflowError` for a longer one."""
    return len(value).to_bytes(2, "big") + value


def maybe(value: bytes | None) -> bytes:
    """Write what is encoded already, or that it is not there."""
    return _NOTHING if value is None else _SOMETHING + value


def boolean(value: bool) -> bytes:
    """Write a flag."""
    return _TRUE if value else _FALSE


def several(values: list[bytes]) -> bytes:
    """Write up to 255 encoded values after their number."""
    return len(values).to_bytes(1, "big") + b"".join(values)


def pad(data: bytes, size: int) -> bytes:
    """Fill data up to ``size`` bytes, its length in front; raises :class:`ValueError` where it does not fit."""
    filler = size - 2 - len(data)
    if filler < 0:
        raise ValueError(f"{len(data)} bytes do not fit into {size}")
    return b"".join((len(data).to_bytes(2, "big"), data, _PADDING * filler))


def unpad(padded: bytes, what: str) -> bytes:
    """Take what :func:`pad` put in; what it is filled up with does not matter (simplexmq does not look either)."""
    length = int.from_bytes(padded[:2], "big")
    if len(padded) < 2 + length or len(padded) < 2:
        raise MalformedBlock(f"{what}: it is cut short")
    return padded[2 : 2 + length]
