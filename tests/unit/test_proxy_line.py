"""Tor's line about the circuit: whole, in pieces, and everything that is not one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onion_rdv.errors import MalformedRequest
from onion_rdv.rendezvous import proxy_line
from onion_rdv.rendezvous.proxy_line import LONGEST, ProxyLine

SEEN = b"PROXY TCP6 fc00:dead:beef:4dad::0:55 ::1 85 80\r\n"
"""As a real tor wrote it."""


def test_what_tor_writes() -> None:
    assert ProxyLine().feed(SEEN + b"POST") == (85, b"POST")
    assert proxy_line.write(85) == SEEN


@given(st.integers(0, 2**32 - 1), st.binary(max_size=200), st.lists(st.integers(1, 60), max_size=8))
def test_however_it_is_cut(circuit: int, rest: bytes, sizes: list[int]) -> None:
    stream, reader = proxy_line.write(circuit) + rest, ProxyLine()
    while (piece := stream[: sizes.pop()] if sizes else stream) is not None:
        stream = stream[len(piece) :]
        found = reader.feed(piece)
        if found is not None:
            assert (found[0], found[1] + stream) == (circuit, rest)
            return


def feed_by_bytes(stream: bytes) -> None:
    reader = ProxyLine()
    for byte in stream:
        assert reader.feed(bytes([byte])) is None
        assert len(reader._held) < LONGEST


@pytest.mark.parametrize(
    "stream",
    [
        b"POST /v1/store HTTP/1.1\r\n",
        b"P0",
        b"\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 85 80\r\n",
        SEEN.replace(b"\r\n", b"\n") + bytes(LONGEST),
        SEEN.replace(b"dead", b"DEAD"),
        SEEN.replace(b"0:55", b"0:10000"),
        SEEN.replace(b"0:55", b"55"),
        SEEN.replace(b" 85", b"  85"),
        SEEN.replace(b"::1", b"::2"),
        SEEN.replace(b" 80", b" -80"),
        SEEN.replace(b" 80", b" 800000"),
        SEEN.replace(b" 80", b" 80 "),
        b"PROXY TCP6 " + bytes(LONGEST),
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11",  # version 2
    ],
)
def test_what_is_none(stream: bytes) -> None:
    with pytest.raises(MalformedRequest):
        ProxyLine().feed(stream)
    with pytest.raises(MalformedRequest):
        feed_by_bytes(stream)


@given(st.binary(max_size=300))
def test_any_bytes_are_held_for_a_while_at_most(stream: bytes) -> None:
    with suppress(MalformedRequest):
        feed_by_bytes(stream)
