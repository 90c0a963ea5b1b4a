"""What each end says first (docs/talk.md, "Introductions").

The beginner's introduction lies at the messaging server behind the link; nobody but who has the link can read it, and
nobody can change it, because the link's key is its hash. The joiner answers it with a hello.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from onion_rdv.client.talk.frames import broken_talk
from onion_rdv.client.talk.keys import KEY_SIZE, NONCE_SIZE, VERSION
from onion_rdv.errors import LinkDataRefused, TalkBroken, UsageError
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.commands import LinkData
from onion_rdv.smp.wire.crypto import NONCE_SIZE as BOX_NONCE_SIZE
from onion_rdv.smp.wire.encoding import Reader, short
from onion_rdv.smp.wire.keys import Kind, PublicKey
from onion_rdv.smp.wire.link_data import (
    FIXED_SIZE,
    USER_SIZE,
    invitation_secret,
    link_key,
    open_parts,
    seal_part,
)
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE

if TYPE_CHECKING:
    from onion_rdv.client.talk.keys import Random
    from onion_rdv.client.talk.link import TalkLink
    from onion_rdv.smp.wire.keys import PrivateKey

HELLO = b"H"
_MAGIC = b"onion-rdv talk"
_NEWER = "the other's program is newer: update onion-rdv"


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the beginner says first. The queue is the one that the joiner's messages go to."""

    root: PublicKey
    queue_key: PublicKey
    talk_key: PublicKey
    commitment: bytes
    sender_id: bytes

    def encode(self) -> bytes:
        """Give the fixed part of the link data."""
        keys = (self.root.raw, self.queue_key.raw, self.talk_key.raw)
        return b"".join((_MAGIC, _version(), *keys, self.commitment, short(self.sender_id)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read it; raises :class:`~onion_rdv.errors.TalkBroken`."""
        with broken_talk():
            reader = Reader(data, "the beginner's introduction")
            reader.expect(_MAGIC)
            _check_version(reader)
            root = PublicKey(Kind.ED25519, reader.take(KEY_SIZE))
            queue_key, talk_key = (PublicKey(Kind.X25519, reader.take(KEY_SIZE)) for _ in range(2))
            introduction = cls(root, queue_key, talk_key, reader.take(NONCE_SIZE), reader.short(ENTITY_ID_SIZE))
            reader.end()
        return introduction

    def seal(self, root: PrivateKey, random: Random) -> tuple[bytes, LinkData]:
        """Give the link's key, and what the server is to keep under the link; the second part of that is empty."""
        fixed = self.encode()
        key = link_key(fixed)
        secret = invitation_secret(key)
        parts = [
            seal_part(secret, random(BOX_NONCE_SIZE), root, data, size)
            for data, size in ((fixed, FIXED_SIZE), (b"", USER_SIZE))
        ]
        return key, LinkData(*parts)

    @classmethod
    def open(cls, link: TalkLink, sender_id: bytes, data: LinkData) -> Self:
        """Read what the server keeps under a link, and check that it is what the link was made for.

        Raises :class:`~onion_rdv.errors.LinkDataRefused` and :class:`~onion_rdv.errors.TalkBroken`.
        """
        parts = open_parts(link.link_key, invitation_secret(link.link_key), data)
        introduction = cls.decode(parts.fixed.data)
        parts.check_root(introduction.root)
        if introduction.sender_id != sender_id:
            raise LinkDataRefused("the server names another queue than the link was made for")
        return introduction


@dataclass(frozen=True, slots=True)
class Hello:
    """What the joiner answers. The queue is the one that the beginner's messages go to."""

    talk_key: PublicKey
    nonce: bytes = field(repr=False)
    queue_key: PublicKey
    sender_id: bytes
    server: SmpServer

    def encode(self) -> bytes:
        """Give the message."""
        place = (short(self.sender_id), self.server.key_hash, short(self.server.host.encode()))
        keys = (self.talk_key.raw, self.nonce, self.queue_key.raw)
        return b"".join((HELLO, _version(), *keys, *place, self.server.port.to_bytes(2, "big")))

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Read it; raises :class:`~onion_rdv.errors.TalkBroken`."""
        with broken_talk():
            reader = Reader(message, "the joiner's hello")
            reader.expect(HELLO)
            _check_version(reader)
            talk_key = PublicKey(Kind.X25519, reader.take(KEY_SIZE))
            nonce = reader.take(NONCE_SIZE)
            queue_key = PublicKey(Kind.X25519, reader.take(KEY_SIZE))
            sender_id = reader.short(ENTITY_ID_SIZE)
            server = _server(reader)
            reader.end()
        return cls(talk_key, nonce, queue_key, sender_id, server)


def _server(reader: Reader) -> SmpServer:
    key_hash, host, port = reader.take(KEY_SIZE), reader.short(), reader.u16()
    try:
        written = str(SmpServer(key_hash, (host.decode("ascii"),), port))
        server = SmpServer.parse(written)
    except (UsageError, UnicodeDecodeError):
        raise reader.fault("the server that it names is none") from None
    if len(server.hosts) != 1 or str(server) != written:
        raise reader.fault("the server in it is written in an unusual way")
    return server


def _version() -> bytes:
    return VERSION.to_bytes(2, "big")


def _check_version(reader: Reader) -> None:
    version = reader.u16()
    if version != VERSION:
        raise TalkBroken(f"the other speaks version {version} of it, and this program {VERSION}", hint=_NEWER)
