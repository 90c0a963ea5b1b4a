"""HSalsa20, which libsodium has and PyNaCl does not hand out (Bernstein, "Extending the Salsa20 nonce", section 2).

Python needs little longer for eight keys than for one: each of the sixteen words of the state is a large integer, in
which the words of all keys stand side by side, each in a lane of 64 bits, so that one operation works on all of them.
"""

from __future__ import annotations

import struct

KEY_SIZE = 32
INPUT_SIZE = 16

_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_LANE_SIZE = 8
_DOUBLE_ROUNDS = 10

_QUARTERS = (
    *((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)),  # the columns
    *((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)),  # the rows
)
_OUTPUT = (0, 5, 10, 15, 6, 7, 8, 9)


def hsalsa20(key: bytes, data: bytes = bytes(INPUT_SIZE)) -> bytes:
    """Give the 32-byte subkey for a 32-byte key and a 16-byte input.

    Raises :class:`ValueError` for a key or an input of another size.
    """
    return hsalsa20_each([key], data)[0]


def hsalsa20_each(keys: list[bytes], data: bytes = bytes(INPUT_SIZE)) -> list[bytes]:
    """Do what :func:`hsalsa20` does for many keys with the same input, at once."""
    if len(data) != INPUT_SIZE or any(len(key) != KEY_SIZE for key in keys):
        raise ValueError(f"HSalsa20 takes keys of {KEY_SIZE} and an input of {INPUT_SIZE} bytes")
    lanes = struct.Struct(f"<{len(keys)}Q")
    ones = int.from_bytes(lanes.pack(*[1] * len(keys)), "little")
    words = zip(*(struct.unpack("<8I", key) for key in keys), strict=True)
    k = [int.from_bytes(lanes.pack(*word), "little") for word in words] or [0] * 8
    n = [word * ones for word in struct.unpack("<4I", data)]
    s = [word * ones for word in _SIGMA]
    state = [s[0], *k[:4], s[1], *n, s[2], *k[4:], s[3]]
    _mix(state, 0xFFFFFFFF * ones)
    output = [lanes.unpack(state[place].to_bytes(_LANE_SIZE * len(keys), "little")) for place in _OUTPUT]
    return [struct.pack("<8I", *key) for key in zip(*output, strict=True)]


def _mix(x: list[int], mask: int) -> None:
    for _ in range(_DOUBLE_ROUNDS):
        for a, b, c, d in _QUARTERS:
            xa, xb, xc, xd = x[a], x[b], x[c], x[d]
            # A word that is shifted left keeps its overflow in the upper half of its lane. Folded back, that is a
            # rotation, and the mask takes away what the neighbour's fold brought in.
            t = ((xa + xd) & mask) << 7
            xb ^= (t | (t >> 32)) & mask
            t = ((xb + xa) & mask) << 9
            xc ^= (t | (t >> 32)) & mask
            t = ((xc + xb) & mask) << 13
            xd ^= (t | (t >> 32)) & mask
            t = ((xd + xc) & mask) << 18
            xa ^= (t | (t >> 32)) & mask
            x[a], x[b], x[c], x[d] = xa, xb, xc, xd
