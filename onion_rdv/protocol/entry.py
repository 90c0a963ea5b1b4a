"""Sealing a link into an entry, and finding the one entry of a bucket that opens (docs/protocol.md, "Entries")."""

from __future__ import annotations

import hmac

from onion_rdv.errors import ConflictingEntries, MalformedReply, NoEntryOpens
from onion_rdv.protocol.bucket import BUCKET_SIZE, entries
from onion_rdv.protocol.keys import COMMITMENT_SIZE, EntryKeys, derive_keys
from onion_rdv.protocol.link import decode_link, encode_link


def seal(link: str, passphrase: str | bytes, salt: bytes, onion_key: bytes) -> bytes:
    """Seal a link into a 256-byte entry for the rendezvous server with this 32-byte onion key.

    The 16-byte salt MUST be fresh: the same salt for two links would use a key and a nonce twice. Raises
    :class:`~onion_rdv.errors.MalformedLink` (or its :class:`~onion_rdv.errors.LinkTooLong`),
    :class:`~onion_rdv.errors.MalformedPassphrase`, or :class:`ValueError` for a salt or key of the wrong length.
    """
    plaintext = encode_link(link)  # first: it is cheap, and the keys are not
    return seal_with(plaintext, derive_keys(passphrase, salt, onion_key))


def seal_with(plaintext: bytes, keys: EntryKeys) -> bytes:
    """Seal a 208-byte plaintext under keys that were derived before."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

    return keys.commitment + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, None, keys.nonce, keys.key)


def open_bucket(bucket: bytes, passphrase: str | bytes, salt: bytes, onion_key: bytes) -> str:
    """Give the link in the entry of a 16,384-byte bucket that opens.

    Raises :class:`~onion_rdv.errors.NoEntryOpens` (wrong passphrase or wrong bucket),
    :class:`~onion_rdv.errors.ConflictingEntries` where two open to different links,
    :class:`~onion_rdv.errors.MalformedEntry` where one opens but holds no link,
    :class:`~onion_rdv.errors.MalformedReply` for a bucket of another size,
    :class:`~onion_rdv.errors.MalformedPassphrase`, or :class:`ValueError` as for :func:`seal`.
    """
    return open_bucket_with(bucket, derive_keys(passphrase, salt, onion_key))


def open_bucket_with(bucket: bytes, keys: EntryKeys) -> str:
    """Do what :func:`open_bucket` does, with keys that were derived before (while the bucket was on its way)."""
    if len(bucket) != BUCKET_SIZE:
        raise MalformedReply(f"the bucket has {len(bucket)} bytes, not {BUCKET_SIZE}")
    # Every entry is looked at, so that the time taken does not tell which one it was; copies of one are opened once.
    own = dict.fromkeys(entry for entry in entries(bucket) if _is_marked(entry, keys.commitment))
    opened = [plaintext for entry in own if (plaintext := _open(entry, keys)) is not None]
    links = {decode_link(plaintext) for plaintext in opened}
    if not links:
        raise NoEntryOpens
    if len(links) > 1:
        raise ConflictingEntries
    return links.pop()


def _is_marked(entry: bytes, commitment: bytes) -> bool:
    return hmac.compare_digest(entry[:COMMITMENT_SIZE], commitment)


def _open(entry: bytes, keys: EntryKeys) -> bytes | None:
    """Give the plaintext of an entry with the right commitment, or None where the rest is not authentic."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
    from nacl.exceptions import CryptoError

    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(entry[COMMITMENT_SIZE:], None, keys.nonce, keys.key)
    except CryptoError:
        return None
