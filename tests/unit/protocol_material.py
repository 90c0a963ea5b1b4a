"""What the tests of the protocol share: the files of vectors, and Argon2id at a price that property tests can pay."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from onion_rdv.protocol import BUCKET_ENTRIES, ENTRY_SIZE, EntryKeys, bucket, derive_keys, keys

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"

VECTORS: list[dict[str, Any]] = json.loads((DATA / "vectors.json").read_text())["vectors"]
KIND1_VECTORS: list[dict[str, Any]] = json.loads((DATA / "kind1_vectors.json").read_text())["vectors"]
MUST_FAIL: list[dict[str, Any]] = json.loads((DATA / "must_fail.json").read_text())["cases"]

FIRST = VECTORS[0]
ONION_KEY = bytes.fromhex(FIRST["onion_key"])
SALT = bytes.fromhex(FIRST["salt"])
ENTRY = bytes.fromhex(FIRST["entry"])


@cache
def real_keys(passphrase: str, salt: bytes, onion_key: bytes) -> EntryKeys:
    """Derive keys with the real parameters, once for each set of arguments."""
    return derive_keys(passphrase, salt, onion_key)


@contextmanager
def cheap_argon2() -> Iterator[None]:
    """Let Argon2id have one pass and as little memory as its lanes allow, while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_MASTER_PASSES", 1)
        patch.setattr(keys, "_MASTER_MEMORY_KIB", 8 * keys._MASTER_LANES)
        patch.setattr(bucket, "_LINK_PASSES", 1)
        patch.setattr(bucket, "_LINK_MEMORY_KIB", 8)
        yield


def bucket_with(entries: dict[int, bytes], filling: bytes = bytes(ENTRY_SIZE)) -> bytes:
    """Make a bucket with entries at these places, and the filling at the others."""
    return b"".join(entries.get(place, filling) for place in range(BUCKET_ENTRIES))


def plaintext_of(kind: int, body: bytes) -> bytes:
    """Put a body of at most 206 bytes into a plaintext."""
    return (bytes([kind, len(body)]) + body).ljust(208, b"\0")


def flip(data: bytes, bit: int) -> bytes:
    """Flip one bit; bit 0 is the lowest of the first byte."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
