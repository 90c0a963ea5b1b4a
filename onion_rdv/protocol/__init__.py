"""The rendezvous protocol, version 1, without I/O: bytes in, bytes out; times and randomness are arguments."""

from onion_rdv.protocol.bucket import (
    BUCKET_ENTRIES,
    BUCKET_ID_SIZE,
    BUCKET_LINK_SIZE,
    BUCKET_SIZE,
    ENTRY_SIZE,
    BucketId,
    bucket_link,
)
from onion_rdv.protocol.checks import Limits, check_bucket_id, check_entry
from onion_rdv.protocol.entry import open_bucket, open_bucket_with, seal
from onion_rdv.protocol.invite import Invite
from onion_rdv.protocol.keys import SALT_SIZE, EntryKeys, derive_keys
from onion_rdv.protocol.link import decode_link, encode_link
from onion_rdv.protocol.onion import DEFAULT_PORT, ONION_KEY_SIZE, decode_onion_address, encode_onion_address
from onion_rdv.protocol.passphrase import normalise_passphrase
from onion_rdv.protocol.short_link import SMP_PORT, LinkScheme, LinkType, ShortLink, is_short_link

__all__ = [
    "BUCKET_ENTRIES",
    "BUCKET_ID_SIZE",
    "BUCKET_LINK_SIZE",
    "BUCKET_SIZE",
    "DEFAULT_PORT",
    "ENTRY_SIZE",
    "ONION_KEY_SIZE",
    "SALT_SIZE",
    "SMP_PORT",
    "BucketId",
    "EntryKeys",
    "Invite",
    "Limits",
    "LinkScheme",
    "LinkType",
    "ShortLink",
    "bucket_link",
    "check_bucket_id",
    "check_entry",
    "decode_link",
    "decode_onion_address",
    "derive_keys",
    "encode_link",
    "encode_onion_address",
    "is_short_link",
    "normalise_passphrase",
    "open_bucket",
    "open_bucket_with",
    "seal",
]
