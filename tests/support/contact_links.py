"""Contact links as the SimpleX app makes them, with the data that they lead to: right, or wrong in one way."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onion_rdv.protocol.short_link import LinkScheme, LinkType, ShortLink
from onion_rdv.smp.wire import link_data
from onion_rdv.smp.wire.commands import LinkData
from onion_rdv.smp.wire.encoding import Versions, boolean, maybe, several, short
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import Lnk

if TYPE_CHECKING:
    from onion_rdv.smp.wire.address import SmpServer

AGENT_VERSIONS = Versions(2, 7)
QUEUE_VERSIONS = Versions(1, 4)


@dataclass
class ContactLink:
    """A link to an address at a server; what is changed before it is used makes it wrong."""

    server: SmpServer
    type: LinkType = LinkType.CONTACT
    mode: bytes = b"C"
    sender_id: bytes = field(default_factory=lambda: os.urandom(24))
    root: PrivateKey = field(default_factory=lambda: PrivateKey(Kind.ED25519, os.urandom(32)))
    user_root: PrivateKey | None = None
    profile: bytes = b'{"displayName":"somebody"}'

    @property
    def fixed(self) -> bytes:
        """The part from which the link's key follows."""
        dh_key = PrivateKey(Kind.X25519, b"\1" * 32).public
        queue = b"".join(
            (
                QUEUE_VERSIONS.encode(),
                several([short(host.encode()) for host in self.server.hosts]),
                short(str(self.server.port).encode()),
                short(self.server.key_hash),
                short(self.sender_id),
                short(dh_key.encode()),
            )
        )
        request = self.mode + AGENT_VERSIONS.encode() + several([queue]) + maybe(None)
        return AGENT_VERSIONS.encode() + short(self.root.public.encode()) + request

    @property
    def user(self) -> bytes:
        """The part that can be changed."""
        rest = boolean(True) + several([]) + several([]) + short(self.profile)
        return self.mode + AGENT_VERSIONS.encode() + rest

    @property
    def link_key(self) -> bytes:
        return link_data.link_key(self.fixed)

    def link(self, *, with_identity: bool = True) -> ShortLink:
        """Give the link itself."""
        return ShortLink(
            scheme=LinkScheme.SERVER,
            type=self.type,
            hosts=self.server.hosts,
            port=self.server.port,
            key_hash=self.server.key_hash if with_identity else None,
            link_key=self.link_key,
        )

    def answer(self, *, link_key: bytes | None = None) -> Lnk:
        """Give what the server has for it; sealed for the key of another link where one is given."""
        secret = link_data.contact_keys(link_key or self.link_key).secret
        fixed = link_data.seal_part(secret, os.urandom(24), self.root, self.fixed, link_data.FIXED_SIZE)
        signer = self.user_root or self.root
        user = link_data.seal_part(secret, os.urandom(24), signer, self.user, link_data.USER_SIZE)
        return Lnk(self.sender_id, LinkData(fixed, user))
