"""From passphrase and invite salt to the one-time keys of an entry (docs/protocol.md, "Keys")."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from onion_rdv.errors import MalformedPassphrase
from onion_rdv.protocol.onion import check_onion_key
from onion_rdv.protocol.passphrase import normalise_passphrase

SALT_SIZE = 16
"""Bytes of an invite salt: fresh for every entry, which makes every key a one-time key."""

COMMITMENT_SIZE = 32
KEY_SIZE = 32
NONCE_SIZE = 24

# RFC 9106, section 4: the second recommended option, for memory-constrained environments.
_MASTER_PASSES = 3
_MASTER_MEMORY_KIB = 65_536
_MASTER_LANES = 4


@dataclass(frozen=True, slots=True)
class EntryKeys:
    """What an entry is recognised by (32 bytes), and the key (32) and nonce (24) that open it."""

    commitment: bytes = field(repr=False)
    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


def stretch(secret: bytes, salt: bytes) -> bytes:
    """Make 32 bytes from a passphrase: one Argon2id with 64 MiB, some hundred milliseconds."""
    from argon2.low_level import Type, hash_secret_raw  # once somebody waits for a circuit meanwhile

    return hash_secret_raw(
        secret=secret,
        salt=salt,
        time_cost=_MASTER_PASSES,
        memory_cost=_MASTER_MEMORY_KIB,
        parallelism=_MASTER_LANES,
        hash_len=32,
        type=Type.ID,
    )


def derive_keys(passphrase: str | bytes, salt: bytes, onion_key: bytes) -> EntryKeys:
    """Derive the keys of one entry; takes as long as :func:`stretch`.

    A passphrase given as ``bytes`` is taken to be what :func:`normalise_passphrase` returned. Raises
    :class:`~onion_rdv.errors.MalformedPassphrase` for an empty one, :class:`ValueError` for a salt that is not 16
    or an onion key that is not 32 bytes long.
    """
    if len(salt) != SALT_SIZE:
        raise ValueError(f"a salt has {SALT_SIZE} bytes, not {len(salt)}")
    check_onion_key(onion_key)
    secret = normalise_passphrase(passphrase) if isinstance(passphrase, str) else passphrase
    if not secret:
        raise MalformedPassphrase("it is empty")
    master = stretch(secret, salt)

    def expand(purpose: bytes, size: int) -> bytes:
        return hashlib.blake2b(onion_key, digest_size=size, key=master, person=purpose).digest()

    return EntryKeys(
        commitment=expand(b"rdv1 commitment", COMMITMENT_SIZE),
        key=expand(b"rdv1 key", KEY_SIZE),
        nonce=expand(b"rdv1 nonce", NONCE_SIZE),
    )
