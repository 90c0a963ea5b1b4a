"""Buckets, their ids, and the memory-hard hash of an id that an invite carries (docs/protocol.md, "Buckets")."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

from onion_rdv.protocol.onion import check_onion_key

ENTRY_SIZE = 256
"""Bytes of one sealed link."""

BUCKET_ENTRIES = 64
"""Places in a bucket; the free ones hold random bytes."""

BUCKET_SIZE = BUCKET_ENTRIES * ENTRY_SIZE
"""Bytes of a bucket: 16,384."""

BUCKET_ID_SIZE = 12
"""Bytes of an encoded bucket id."""

BUCKET_LINK_SIZE = 16
"""Bytes of a bucket link."""

WINDOW = 3600
"""Seconds that a bucket is open, unless it is full earlier or an operator chose otherwise."""

LIFETIME = 7 * 24 * 3600
"""Seconds that a bucket is kept, counted from ``created_at``, unless an operator chose otherwise."""

# Cheap enough for every client to check one, dear enough to make guessing times slow. One lane is all that libsodium
# has: a server computes links without end, and libsodium gives the memory back each time, and is the faster one.
_LINK_PASSES = 2
_LINK_MEMORY_KIB = 19_456

_U64 = 2**64
_U32 = 2**32


@dataclass(frozen=True, slots=True, order=True)
class BucketId:
    """When a bucket was opened (Unix seconds, u64), and which one of that second it is (from 0, u32).

    Raises :class:`ValueError` for numbers that do not fit.
    """

    created_at: int
    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.created_at < _U64:
            raise ValueError("created_at does not fit into 64 bits")
        if not 0 <= self.number < _U32:
            raise ValueError("number does not fit into 32 bits")

    def encode(self) -> bytes:
        """Give the 12 bytes of the id."""
        return self.created_at.to_bytes(8) + self.number.to_bytes(4)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the 12 bytes of an id; raises :class:`ValueError` for any other length."""
        if len(data) != BUCKET_ID_SIZE:
            raise ValueError(f"a bucket id has {BUCKET_ID_SIZE} bytes, not {len(data)}")
        return cls(int.from_bytes(data[:8]), int.from_bytes(data[8:]))


def bucket_link(bucket_id: BucketId, onion_key: bytes) -> bytes:
    """Hash a bucket id to the 16-byte link under which this onion service serves the bucket.

    Argon2id (RFC 9106) with t=2, m=19 MiB, p=1: some tens of milliseconds. An id is easy to guess, so each guess
    has to cost something; and everybody has to get the same link, so there is no random salt. Raises
    :class:`ValueError` for an onion key that is not 32 bytes long.
    """
    from nacl.bindings import crypto_pwhash_alg, crypto_pwhash_ALG_ARGON2ID13

    check_onion_key(onion_key)
    return crypto_pwhash_alg(
        outlen=BUCKET_LINK_SIZE,
        passwd=bucket_id.encode(),
        salt=hashlib.sha256(b"onion-rdv/1 bucket link" + onion_key).digest()[:16],
        opslimit=_LINK_PASSES,
        memlimit=_LINK_MEMORY_KIB * 1024,
        alg=crypto_pwhash_ALG_ARGON2ID13,
    )


def entries(bucket: bytes) -> list[bytes]:
    """Take a bucket apart into its 64 entries."""
    return [bucket[start : start + ENTRY_SIZE] for start in range(0, BUCKET_SIZE, ENTRY_SIZE)]
