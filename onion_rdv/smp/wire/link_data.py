"""What a short link leads to: two parts, sealed and signed by the link's maker (docs/smp.md, "Link data").

The server keeps both parts and can open neither. The link's key is the hash of the first part, so that nobody, the
server included, can put another in its place; the second part can be changed, by whoever has the root key.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from onion_rdv.errors import LinkDataRefused, MalformedBlock
from onion_rdv.smp.wire.crypto import KEY_SIZE, NONCE_SIZE, box_key, hkdf, seal_padded, unseal_padded
from onion_rdv.smp.wire.encoding import Reader, short
from onion_rdv.smp.wire.keys import SIGNATURE_SIZE, PrivateKey, PublicKey
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE

if TYPE_CHECKING:
    from onion_rdv.smp.wire.commands import LinkData

FIXED_SIZE: Final = 2008
"""Bytes of the fixed part, padded, before it is sealed; 2,048 as the server keeps it."""

USER_SIZE: Final = 13_784
"""Bytes of the user part, padded, before it is sealed; 13,824 as the server keeps it."""

_CONTACT: Final = b"SimpleXContactLink"
_INVITATION: Final = b"SimpleXInvLink"


class ContactKeys(NamedTuple):
    """What the key in a contact link is good for: the link's name at the server, and the secret of both parts."""

    link_id: bytes
    secret: bytes

    def __repr__(self) -> str:
        """Show nothing of them."""
        return f"{type(self).__name__}()"


def contact_keys(link_key: bytes) -> ContactKeys:
    """Derive both from the 32-byte key in a link that is not one-time."""
    derived = hkdf(link_key, _CONTACT, ENTITY_ID_SIZE + KEY_SIZE)
    return ContactKeys(derived[:ENTITY_ID_SIZE], derived[ENTITY_ID_SIZE:])


def invitation_secret(link_key: bytes) -> bytes:
    """Derive the 32-byte secret of both parts from the key in a one-time link, which names its link id itself."""
    return hkdf(link_key, _INVITATION, KEY_SIZE)


def link_key(fixed: bytes) -> bytes:
    """Give the link's key for a fixed part (without signature)."""
    return hashlib.sha3_256(fixed).digest()


def sender_id(correlation_id: bytes) -> bytes:
    """Give the sender id that a ``NEW`` with link data has to name: it depends on the command's correlation id."""
    return hashlib.sha3_384(correlation_id).digest()[:ENTITY_ID_SIZE]


@dataclass(frozen=True, slots=True)
class SignedPart:
    """One part, as its maker signed it."""

    data: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, key: PublicKey) -> bool:
        """Check the signature."""
        return key.has_signed(self.data, self.signature)


@dataclass(frozen=True, slots=True)
class LinkParts:
    """Both parts, taken out of their boxes; their signatures are still to be checked with :meth:`check_root`."""

    fixed: SignedPart
    user: SignedPart

    def check_root(self, root: PublicKey) -> None:
        """Check both signatures by the root key that the fixed part names.

        Raises :class:`~onion_rdv.errors.LinkDataRefused`.
        """
        self.check_fixed(root)
        if not self.user.is_signed_by(root):
            raise LinkDataRefused("the signature on its changeable part is wrong")

    def check_fixed(self, root: PublicKey) -> None:
        """Check the signature of the fixed part alone, where others than the root may sign the second."""
        if not self.fixed.is_signed_by(root):
            raise LinkDataRefused("the signature on its fixed part is wrong")


def seal_part(secret: bytes, nonce: bytes, root: PrivateKey, data: bytes, size: int) -> bytes:
    """Sign and seal one part; ``size`` is :data:`FIXED_SIZE` or :data:`USER_SIZE`, and the nonce 24 fresh bytes.

    Raises :class:`ValueError` for data that does not fit: ``size`` less 67 bytes do.
    """
    return nonce + seal_padded(box_key(secret), nonce, short(root.sign(data)) + data, size)


def open_parts(link_key: bytes, secret: bytes, sealed: LinkData) -> LinkParts:
    """Take both parts out of their boxes, and check that the fixed one is the one that the link means.

    Raises :class:`~onion_rdv.errors.LinkDataRefused`, or :class:`~onion_rdv.errors.MalformedBlock`.
    """
    key = box_key(secret)
    fixed, user = _open_part(key, sealed.fixed), _open_part(key, sealed.user)
    if not hmac.compare_digest(hashlib.sha3_256(fixed.data).digest(), link_key):
        raise LinkDataRefused("its fixed part is not the one that the link was made for")
    return LinkParts(fixed, user)


def _open_part(key: bytes, sealed: bytes) -> SignedPart:
    try:
        data = unseal_padded(key, sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], "link data")
    except MalformedBlock:
        raise LinkDataRefused("it does not open with the link's key") from None
    reader = Reader(data, "link data")
    signature = reader.short(SIGNATURE_SIZE)
    return SignedPart(reader.rest(), signature)
