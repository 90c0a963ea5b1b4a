"""What the two ends of SMP send each other, and what the makers of links leave at a messaging server."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz.harness import halves, harness
from onion_rdv.errors import MalformedBlock, MessagingCheckFailed, MessagingVersionUnknown
from onion_rdv.smp.wire import transmissions
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, PlainBlocks
from onion_rdv.smp.wire.commands import parse_command
from onion_rdv.smp.wire.connection_info import read_connection_info
from onion_rdv.smp.wire.crypto import agreed_box_key, seal
from onion_rdv.smp.wire.encoding import Reader, pad
from onion_rdv.smp.wire.envelopes import Delivery, Envelope
from onion_rdv.smp.wire.hello import VERSIONS, ClientHello, ServerHello, fingerprint, sign_session_key
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey
from onion_rdv.smp.wire.link_data import FIXED_SIZE, USER_SIZE, LinkParts, SignedPart
from onion_rdv.smp.wire.replies import Err, Sok, parse_reply
from onion_rdv.smp.wire.transmissions import Transmission

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.smp.wire.commands import Command
    from onion_rdv.smp.wire.replies import Reply

OURS: Final = PrivateKey(Kind.X25519, b"o" * 32)
THEIRS: Final = PrivateKey(Kind.X25519, b"t" * 32)
ROOT: Final = PrivateKey(Kind.ED25519, bytes(32))
"""Whose signatures hold; :func:`link_data` and :func:`smp_certificates` are about what they sign."""

SENDER_ID: Final = b"s" * 24
NOW: Final = datetime(2026, 11, 25, tzinfo=UTC)

_ALL_VERSIONS: Final = range(VERSIONS.least, VERSIONS.greatest + 1)


@harness
def smp_block(data: bytes) -> bool:
    """A block gives what was put into it, or is refused."""
    try:
        inside = PlainBlocks().open(data[:BLOCK_SIZE].ljust(BLOCK_SIZE, b"#") if data[:1] != b"\xff" else data)
    except MalformedBlock:
        return False
    assert PlainBlocks().open(PlainBlocks().seal(inside)) == inside
    return True


@harness
def smp_transmissions(data: bytes) -> bool:
    """What a block carries is taken apart, and put together to the same bytes."""
    understood = False
    for version in _ALL_VERSIONS:
        try:
            taken = [Transmission.decode(part, version) for part in transmissions.split(data)]
        except MalformedBlock:
            continue
        assert transmissions.batches([one.encode(version) for one in taken]) == [data]
        understood = True
    return understood


def _parses(data: bytes, parse: Callable[[bytes, int], Command | Reply]) -> bool:
    understood = False
    for version in _ALL_VERSIONS:
        try:
            read = parse(data, version)
        except MalformedBlock:
            continue
        # What a server says in its errors is cleaned, and from 15 to 16 on "subscribed" has two spellings.
        assert isinstance(read, Err | Sok) or read.encode(version) == data
        assert parse(read.encode(version), version) == read or isinstance(read, Sok)
        assert not isinstance(read, Err) or all(str(getattr(read, one.name)).isprintable() for one in fields(read))
        understood = True
    return understood


@harness
def smp_command(data: bytes) -> bool:
    """A command is read and written back in every version, or refused."""
    return _parses(data, parse_command)


@harness
def smp_reply(data: bytes) -> bool:
    """A reply is read and written back in every version, or refused; an error in it cannot act on a terminal."""
    return _parses(data, parse_reply)


@harness
def smp_server_hello(data: bytes) -> bool:
    """A server's hello is refused, or writes back; whoever says it is checked, whatever the certificates are."""
    try:
        said = ServerHello.decode(data)
    except (MalformedBlock, MessagingVersionUnknown):
        return False
    assert said.encode() == data or said.versions.greatest > VERSIONS.greatest
    leaf, ca = (*said.certificates, b"", b"")[:2]
    try:
        key = said.check(key_hash=fingerprint(ca), session_id=said.session_id, tls_certificate=leaf, now=NOW)
    except MessagingCheckFailed:
        return False
    assert key.kind is Kind.X25519
    return True


def certificate(body: bytes, signature: bytes) -> bytes:
    """Give a certificate with this body, or with what stands in its place, and an Ed25519 signature over it."""
    return _der(b"\x30", body + bytes.fromhex("300506032b6570") + _der(b"\x03", b"\0" + signature))


def _der(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8)
    return tag + (bytes([size]) if size < 128 else bytes([128 + len(long)]) + long) + content


@harness
def smp_certificates(data: bytes) -> bool:
    """Certificates that their maker signed are good or refused: the CA's first, and the body of the leaf's."""
    ca, body = halves(data)
    if len(ca) > 30_000 or len(body) > 30_000:
        return False
    leaf = certificate(body, ROOT.sign(body))
    signed_key = sign_session_key(OURS.public, Ed25519PrivateKey.from_private_bytes(ROOT.raw))
    said = ServerHello(VERSIONS, b"s" * 32, (leaf, ca), signed_key)
    try:
        key = said.check(key_hash=fingerprint(ca), session_id=said.session_id, tls_certificate=leaf, now=NOW)
    except MessagingCheckFailed:
        return False
    assert key == OURS.public
    return True


@harness
def smp_client_hello(data: bytes) -> bool:
    """A client's hello is refused, or writes back (but for whether it is a proxy)."""
    try:
        said = ClientHello.decode(data)
    except MalformedBlock:
        return False
    assert ClientHello.decode(said.encode()) == said
    assert len(said.encode()) == len(data)
    return True


@harness
def smp_key(data: bytes) -> bool:
    """A key has one spelling."""
    try:
        key = PublicKey.decode(data, "a key")
    except MalformedBlock:
        return False
    assert key.encode() == data
    return True


@harness
def smp_encoding(data: bytes) -> bool:
    """The reader of bytes gives what is there or refuses; the first half says what it is asked for."""
    asked, given = halves(data)
    reader = Reader(given, "a test")
    asks: tuple[Callable[[], object], ...] = (
        reader.u8, reader.u16, reader.i64, reader.short, lambda: reader.short(0, 24), reader.large, reader.boolean,
        reader.versions, lambda: reader.maybe(reader.short), lambda: reader.several(reader.short), reader.peek,
        lambda: reader.take(3), lambda: reader.expect(b"0"), reader.rest,
    )  # fmt: skip
    try:
        for which in asked[:100]:
            left = reader.left
            asks[which % len(asks)]()
            assert 0 <= reader.left <= left
        reader.end()
    except MalformedBlock:
        return False
    return True


@harness
def link_data(data: bytes) -> bool:
    """Link data that its maker signed is understood or refused; the first byte says of which sort the link is."""
    fixed, user = halves(data[1:])
    if len(fixed) > FIXED_SIZE - 67 or len(user) > USER_SIZE - 67:
        return False
    # The box and the fixed part's hash are what the maker makes of whatever they like.
    parts = LinkParts(*(SignedPart(part, ROOT.sign(part)) for part in (fixed, user)))
    try:
        read_connection_info(parts, SENDER_ID, is_invitation=data[:1] == b"I")
    except MessagingCheckFailed:
        return False
    return True


@harness
def delivery(data: bytes) -> bool:
    """What stands in the server's box of a message is understood or refused; the box itself is as it has to be."""
    key = agreed_box_key(OURS.raw, THEIRS.public.raw, "a test")
    box = seal(key, b"i" * 24, data if data[:1] == b"\xff" else pad(data[:16_000], 16_106))
    try:
        Delivery.open(key, b"i" * 24, box)
    except MalformedBlock:
        return False
    return True


@harness
def envelope(data: bytes) -> bool:
    """An envelope of which all is the sender's choice is understood or refused."""
    head, inner = halves(data)
    key = agreed_box_key(THEIRS.raw, OURS.public.raw, "a test")
    body = head + b"n" * 24 + seal(key, b"n" * 24, pad(inner[:15_000], 15_904))
    try:
        read, sender = Envelope.open(body, OURS, THEIRS.public)
    except MalformedBlock:
        return False
    if sender == THEIRS.public:
        assert Envelope.open(read.seal(THEIRS, OURS.public, b"n" * 24), OURS)[0] == read
    return True
