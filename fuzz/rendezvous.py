"""What initiator and acceptor read: invites, links, entries, passphrases, replies."""

from __future__ import annotations

from typing import Final

from fuzz.harness import harness, text
from onion_rdv.errors import (
    BucketUnknown,
    LinkTooLong,
    MalformedEntry,
    MalformedInvite,
    MalformedLink,
    MalformedOnionAddress,
    MalformedPassphrase,
    MalformedReply,
    NoEntryOpens,
    ServerBusy,
    ServerCheckFailed,
)
from onion_rdv.protocol import (
    BUCKET_ENTRIES,
    ENTRY_SIZE,
    EntryKeys,
    Invite,
    ShortLink,
    decode_link,
    decode_onion_address,
    encode_link,
    encode_onion_address,
    normalise_passphrase,
    open_bucket_with,
)
from onion_rdv.protocol.entry import seal_with
from onion_rdv.protocol.exchange import (
    BUCKET_TYPE,
    PROBLEM_TYPE,
    REPLY_BODY_SIZE,
    REQUEST_BODY_SIZE,
    parse_fetch,
    parse_store,
    read_bucket,
    read_stored,
)
from onion_rdv.protocol.packed_link import pack, unpack

KEYS: Final = EntryKeys(b"c" * 32, b"k" * 32, b"n" * 24)
"""Made without Argon2id, so that a second is enough for thousands of entries."""


@harness
def invite(data: bytes) -> bool:
    """An invite is refused in one way, and one that is read is written so that it means the same."""
    try:
        read = Invite.parse(text(data))
    except MalformedInvite as error:
        assert text(data)[-20:] not in error.message or len(data) < 20
        return False
    assert Invite.parse(str(read)) == read
    assert str(Invite.parse(str(read))) == str(read)
    assert Invite.parse(str(read).upper() if read.passphrase is None else str(read)) == read
    return True


@harness
def onion_address(data: bytes) -> bool:
    """An onion address has one spelling but for its letters' case."""
    given = text(data)
    try:
        key = decode_onion_address(given)
    except MalformedOnionAddress:
        return False
    assert encode_onion_address(key) == given.lower()
    return True


@harness
def passphrase(data: bytes) -> bool:
    """A passphrase is refused, or becomes words with single spaces between them."""
    try:
        spelled = normalise_passphrase(text(data)).decode()
    except MalformedPassphrase:
        return False
    assert spelled
    assert spelled.split() == spelled.split(" ")
    return True


@harness
def link(data: bytes) -> bool:
    """A link that was taken comes out of its plaintext as it went in, or in its canonical form."""
    given = text(data)
    try:
        plaintext = encode_link(given)
    except (MalformedLink, LinkTooLong):
        return False
    came_out = decode_link(plaintext)
    assert came_out == given or came_out == ShortLink.parse(given).write()
    return True


@harness
def entry(data: bytes) -> bool:
    """Whatever an initiator has sealed, the acceptor gets one link or is told why not."""
    sealed = seal_with(data[:208].ljust(208, b"\0"), KEYS)
    bucket = sealed + bytes(ENTRY_SIZE * (BUCKET_ENTRIES - 1))
    try:
        found = open_bucket_with(bucket, KEYS)
    except MalformedEntry:
        return False
    assert decode_link(encode_link(found)) == found
    return True


@harness
def bucket(data: bytes) -> bool:
    """Entries that are changed do not open; no bytes of a bucket are anything else than an entry or none."""
    whole = data.ljust(ENTRY_SIZE * BUCKET_ENTRIES, b"\0")
    try:
        open_bucket_with(whole, KEYS)
    except (NoEntryOpens, MalformedReply):
        return False
    return True


@harness
def short_link(data: bytes) -> bool:
    """A short link that SimpleX reads is written in one form, packed in one form, and both lead back to it."""
    try:
        read = ShortLink.parse(text(data))
    except MalformedLink:
        return False
    assert ShortLink.parse(read.write()) == read
    if len(read.hosts) <= 4:
        assert unpack(pack(read)) == read
    return True


@harness
def packed_link(data: bytes) -> bool:
    """A link has one packing."""
    try:
        read = unpack(data)
    except MalformedEntry:
        return False
    assert pack(read) == data
    assert ShortLink.parse(read.write()) == read
    return True


@harness
def reply(data: bytes) -> bool:
    """A reply of any status, type and body is a bucket, or an error of ours without a word of the server's.

    The first byte says which request it answers, and of which type it claims to be; two more are the status.
    """
    kind, status, body = int.from_bytes(data[:1]), int.from_bytes(data[1:3]), data[3:]
    media_type = (BUCKET_TYPE, PROBLEM_TYPE, PROBLEM_TYPE, text(data[3:40]))[kind >> 1 & 3]
    # Shorter bodies are refused; that is tried too, but seldom.
    whole = body if kind & 0x80 else body[:REPLY_BODY_SIZE].ljust(REPLY_BODY_SIZE)
    try:
        if kind & 1:
            read_stored(status, media_type, whole)
        else:
            read_bucket(status, media_type, whole)
    except (BucketUnknown, ServerBusy, ServerCheckFailed) as error:
        assert error.message.isprintable()
        assert error.message.isascii()
        return isinstance(error, BucketUnknown | ServerBusy)
    return True


@harness
def request_body(data: bytes) -> bool:
    """A body of 256 bytes is an entry, or a link and padding; every other is refused."""
    from onion_rdv.errors import MalformedRequest

    try:
        assert parse_store(data) == data
        assert data.startswith(parse_fetch(data))
    except MalformedRequest:
        assert len(data) != REQUEST_BODY_SIZE
        return False
    return True
