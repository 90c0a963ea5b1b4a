"""HSalsa20, which libsodium has and PyNaCl does not hand out (Bernstein, "Extending the Salsa20 nonce", section 2).

Python needs about as long for sixteen keys as for one: the four diagonals of every key's state stand side by side in
four large integers, one 32-bit word in each 64-bit lane, so that one operation works on all of them.
"""

from __future__ import annotations

import struct

KEY_SIZE = 32
INPUT_SIZE = 16

_WORDS = struct.Struct("<16I")
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_LANE = 64
_ROUNDS = 20  # an even number, so that everything is back in its place at the end

_DIAGONALS = ((0, 5, 10, 15), (4, 9, 14, 3), (8, 13, 2, 7), (12, 1, 6, 11))
"""Which words of the state stand in each of the four integers; in this order a column round needs no shuffling."""

_OUTPUT = (0, 5, 10, 15, 6, 7, 8, 9)


def hsalsa20(key: bytes, data: bytes = bytes(INPUT_SIZE)) -> bytes:
    """Give the 32-byte subkey for a 32-byte key and a 16-byte input.

    Raises :class:`ValueError` for a key or an input of another size.
    """
    return hsalsa20_each([key], data)[0]


def hsalsa20_each(keys: list[bytes], data: bytes = bytes(INPUT_SIZE)) -> list[bytes]:
    """Do what :func:`hsalsa20` does for many keys with the same input, in hardly more time."""
    if len(data) != INPUT_SIZE or any(len(key) != KEY_SIZE for key in keys):
        raise ValueError(f"HSalsa20 takes keys of {KEY_SIZE} and an input of {INPUT_SIZE} bytes")
    states = [_state(key, data) for key in keys]
    rows = [_gather(states, places) for places in _DIAGONALS]
    words = len(keys)
    d0, d1, d2, d3 = _rounds(rows, words)
    row_format = struct.Struct(f"<{4 * words}Q")
    unpacked = [row_format.unpack(row.to_bytes(row_format.size, "little")) for row in (d0, d1, d2, d3)]
    place = {word: (row, column) for row, places in enumerate(_DIAGONALS) for column, word in enumerate(places)}
    output = [place[word] for word in _OUTPUT]
    return [
        struct.pack("<8I", *(unpacked[row][column * words + index] for row, column in output))
        for index in range(words)
    ]


def _state(key: bytes, data: bytes) -> tuple[int, ...]:
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", data)
    return (_SIGMA[0], *k[:4], _SIGMA[1], *n, _SIGMA[2], *k[4:], _SIGMA[3])


def _gather(states: list[tuple[int, ...]], places: tuple[int, ...]) -> int:
    lanes = [state[place] for place in places for state in states]
    return int.from_bytes(struct.pack(f"<{len(lanes)}Q", *lanes), "little")


def _rounds(rows: list[int], words: int) -> tuple[int, int, int, int]:
    d0, d1, d2, d3 = rows
    one, two, three = (_LANE * words * count for count in (1, 2, 3))  # bits in so many words of every state
    mask = int.from_bytes(struct.pack("<Q", 0xFFFFFFFF) * (4 * words), "little")
    low, middle, high = ((1 << bits) - 1 for bits in (one, two, three))
    for _ in range(_ROUNDS):
        # A word that is shifted left keeps its overflow in the upper half of its lane: folded back, that is a
        # rotation, and the mask takes away what the neighbour's fold brought in.
        t = ((d0 + d3) & mask) << 7
        d1 ^= (t | (t >> 32)) & mask
        t = ((d1 + d0) & mask) << 9
        d2 ^= (t | (t >> 32)) & mask
        t = ((d2 + d1) & mask) << 13
        d3 ^= (t | (t >> 32)) & mask
        t = ((d3 + d2) & mask) << 18
        d0 ^= (t | (t >> 32)) & mask
        # Columns become rows, and rows columns: the second and the fourth diagonal turn and change places.
        d1, d3 = (d3 >> one) | ((d3 & low) << three), (d1 >> three) | ((d1 & high) << one)
        d2 = (d2 >> two) | ((d2 & middle) << two)
    return d0, d1, d2, d3
