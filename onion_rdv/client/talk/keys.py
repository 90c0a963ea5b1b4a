"""The keys of a talk: what both ends come to share, one key for every frame, and the code (docs/talk.md, "Keys").

Everything here lives in memory, for one talk. Python cannot promise to wipe memory, but nothing refers to a key that
was used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from onion_rdv.errors import MalformedBlock, TalkBroken
from onion_rdv.smp.wire.crypto import agree, hkdf
from onion_rdv.smp.wire.keys import Kind, PrivateKey

VERSION = 1
KEY_SIZE = 32
NONCE_SIZE = 32

CODE_WORDS = 3
WORD_LIST_SIZE = 7776
"""Words in EFF's large list, of which a number in a code is the place, counted from 0 in alphabetical order."""

Random = Callable[[int], bytes]
"""Gives so many random bytes."""

_LABEL = b"onion-rdv talk/1 "


class Code(NamedTuple):
    """Three numbers, each of a word in the list: what two people compare."""

    first: int
    second: int
    third: int


@dataclass(frozen=True, slots=True)
class Shared:
    """What both ends of a talk know when the joiner's hello has arrived."""

    transcript: bytes
    to_joiner: bytes = field(repr=False)
    to_beginner: bytes = field(repr=False)


class Chain:
    """The keys of one direction: each is derived from the one before, and there is no way back."""

    def __init__(self, start: bytes) -> None:
        """Begin with the 32 bytes that both ends share."""
        self._chain = start

    def look(self) -> bytes:
        """Give the next frame's key, and stay where we are."""
        return self._derive()[1]

    def step(self) -> bytes:
        """Give the next frame's key and forget what it was derived from."""
        self._chain, key = self._derive()
        return key

    def _derive(self) -> tuple[bytes, bytes]:
        both = hkdf(self._chain, _LABEL + b"step", 2 * KEY_SIZE)
        return both[:KEY_SIZE], both[KEY_SIZE:]


def new_key(random: Random) -> PrivateKey:
    """Make an X25519 key pair."""
    return PrivateKey(Kind.X25519, random(KEY_SIZE))


def commit(nonce: bytes) -> bytes:
    """Give what binds the beginner to a nonce (32 bytes) without showing it."""
    return hashlib.sha256(_LABEL + b"commitment" + nonce).digest()


def share(mine: PrivateKey, theirs: bytes, link: str, hello: bytes) -> Shared:
    """Derive what both ends share from one private and one public talk key.

    ``link`` is the talk's link in its written form, which stands for all that the beginner said first; ``hello`` is
    the whole of the joiner's. Raises :class:`~onion_rdv.errors.TalkBroken` for a public key of low order.
    """
    try:
        secret = agree(mine.raw, theirs, "the other's key")
    except MalformedBlock as error:
        raise TalkBroken(error.detail) from None
    written = link.encode()
    transcript = hashlib.sha256(_LABEL + b"transcript" + len(written).to_bytes(2, "big") + written + hello).digest()
    chains = hkdf(secret, _LABEL + b"chains", 2 * KEY_SIZE, salt=transcript)
    return Shared(transcript, to_joiner=chains[:KEY_SIZE], to_beginner=chains[KEY_SIZE:])


def code(transcript: bytes, nonce: bytes) -> Code:
    """Give the code of a talk, from its transcript and the nonce that the beginner was bound to."""
    number = int.from_bytes(hashlib.sha256(_LABEL + b"code" + transcript + nonce).digest()[:16], "big")
    return Code(number // WORD_LIST_SIZE**2 % WORD_LIST_SIZE, number // WORD_LIST_SIZE % WORD_LIST_SIZE,
                number % WORD_LIST_SIZE)  # fmt: skip
