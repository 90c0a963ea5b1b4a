"""SMP's encodings: what is written is read, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.encoding import Reader, Versions, boolean, large, maybe, pad, several, short, unpad

if TYPE_CHECKING:
    from collections.abc import Callable

RANGES = st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1)).map(
    lambda both: Versions(min(both), max(both))
)


@given(
    st.binary(max_size=255),
    st.binary(max_size=1000),
    st.booleans(),
    st.none() | st.binary(max_size=9),
    st.lists(st.binary(max_size=9), max_size=9),
    RANGES,
    st.binary(max_size=9),
)
def test_what_is_written_is_read(
    little: bytes, much: bytes, flag: bool, may_be: bytes | None, many: list[bytes], versions: Versions, rest: bytes
) -> None:
    written = b"".join(
        (
            short(little),
            large(much),
            boolean(flag),
            maybe(None if may_be is None else short(may_be)),
            several([short(one) for one in many]),
            versions.encode(),
            b"word",
            rest,
        )
    )
    reader = Reader(written, "a test")
    assert reader.peek() == written[:1]
    assert reader.short() == little
    assert reader.large() == much
    assert reader.boolean() is flag
    assert reader.maybe(reader.short) == may_be
    assert reader.several(reader.short) == many
    assert reader.versions() == versions
    reader.expect(b"word")
    assert reader.left == len(rest)
    assert reader.rest() == rest
    reader.end()
    assert reader.peek() == b""


def test_numbers_are_big_endian() -> None:
    reader = Reader(bytes.fromhex("01 0102 0000000000000102 ffffffffffffffff"), "a test")
    assert (reader.u8(), reader.u16(), reader.i64(), reader.i64()) == (1, 258, 258, -1)


READS: list[tuple[Callable[[Reader], object], bytes, str]] = [
    (lambda reader: reader.take(1), b"", "cut short"),
    (lambda reader: reader.u8(), b"", "cut short"),
    (lambda reader: reader.u16(), b"\1", "cut short"),
    (lambda reader: reader.i64(), bytes(7), "cut short"),
    (lambda reader: reader.short(), b"\3ab", "cut short"),
    (lambda reader: reader.short(), b"", "cut short"),
    (lambda reader: reader.short(2, 4), b"\3abc", "a part of it has 3 bytes"),
    (lambda reader: reader.large(), b"\0\3ab", "cut short"),
    (lambda reader: reader.boolean(), b"t", "neither T nor F"),
    (lambda reader: reader.boolean(), b"", "cut short"),
    (lambda reader: reader.maybe(reader.u8), b"\1", "neither there nor missing"),
    (lambda reader: reader.maybe(reader.u8), b"1", "cut short"),
    (lambda reader: reader.several(reader.short), b"\2\1a", "cut short"),
    (lambda reader: reader.versions(), b"\0\2\0\1", "upside down"),
    (lambda reader: reader.expect(b"ab"), b"ac", "something stands where something else belongs"),
    (lambda reader: reader.expect(b"ab"), b"a", "cut short"),
    (lambda reader: reader.end(), b"a", "more than belongs there"),
]


@pytest.mark.parametrize(("read", "data", "reason"), READS)
def test_what_is_not_there_is_not_read(read: Callable[[Reader], object], data: bytes, reason: str) -> None:
    with pytest.raises(MalformedBlock, match=f"a test: .*{reason}"):
        read(Reader(data, "a test"))


def test_only_as_much_is_written_as_its_length_can_say() -> None:
    assert len(short(bytes(255))) == 256
    assert len(large(bytes(65_535))) == 65_537
    for write, size in ((short, 256), (large, 65_536)):
        with pytest.raises(OverflowError):
            write(bytes(size))
    with pytest.raises(OverflowError):
        several([b"a"] * 256)


@given(RANGES, RANGES)
def test_the_common_version_is_the_greatest_that_both_speak(one: Versions, other: Versions) -> None:
    common = one.common(other)
    assert common == other.common(one)
    if common is None:
        assert one.greatest < other.least or other.greatest < one.least
    else:
        assert one.least <= common <= one.greatest
        assert other.least <= common <= other.greatest
        assert common in {one.greatest, other.greatest}


@given(st.binary(max_size=30), st.integers(0, 10))
def test_padding_is_taken_off_again(data: bytes, more: int) -> None:
    size = len(data) + 2 + more
    padded = pad(data, size)
    assert len(padded) == size
    assert padded.endswith(b"#" * more)
    assert unpad(padded, "a test") == data
    assert unpad(padded[: size - more] + bytes(more), "a test") == data
    with pytest.raises(ValueError, match=f"{len(data)} bytes do not fit into {size - more - 1}"):
        pad(data, size - more - 1)


@pytest.mark.parametrize("padded", [b"", b"\0", b"\0\1", b"\1\0#####"])
def test_what_is_shorter_than_it_says_is_refused(padded: bytes) -> None:
    with pytest.raises(MalformedBlock, match="a test: it is cut short"):
        unpad(padded, "a test")
