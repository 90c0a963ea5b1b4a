"""Link data as SimpleX writes it: onion-rdv itself only reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onion_rdv.smp.wire.commands import LinkData
from onion_rdv.smp.wire.encoding import Versions, boolean, large, maybe, several, short
from onion_rdv.smp.wire.link_data import FIXED_SIZE, USER_SIZE, contact_keys, invitation_secret, link_key, seal_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onion_rdv.smp.wire.keys import PrivateKey, PublicKey

CONTACT: Final = b"C"
INVITATION: Final = b"I"

AGENT_VERSIONS: Final = Versions(2, 7)
CLIENT_VERSIONS: Final = Versions(1, 4)
RATCHET_VERSIONS: Final = Versions(2, 3)


def queue(
    sender_id: bytes,
    dh_key: PublicKey,
    *,
    key_hash: bytes,
    hosts: Sequence[bytes] = (b"127.0.0.1",),
    port: bytes = b"15223",
    mode: bytes = b"",
) -> bytes:
    """Write where a queue is."""
    server = several([short(host) for host in hosts]) + short(port) + short(key_hash)
    return b"".join((CLIENT_VERSIONS.encode(), server, short(sender_id), short(dh_key.encode()), mode))


def ratchet(keys: tuple[PublicKey, PublicKey], kem: bytes | None = None) -> bytes:
    """Write the keys of the app's double ratchet; ``kem`` is its post-quantum key, with the letter before it."""
    return RATCHET_VERSIONS.encode() + b"".join(short(key.encode()) for key in keys) + maybe(kem)


def fixed(root: PublicKey, letter: bytes, queues: Sequence[bytes], *, client_data: bytes | None = None) -> bytes:
    """Write the fixed part; what a one-time link has more goes behind it."""
    data = None if client_data is None else large(client_data)
    versions = AGENT_VERSIONS.encode()
    return b"".join((versions, short(root.encode()), letter, versions, several(list(queues)), maybe(data)))


def owner(owner_id: bytes, key: PublicKey, voucher: PrivateKey) -> bytes:
    """Write who else may sign."""
    return short(short(owner_id) + short(key.encode()) + short(voucher.sign(owner_id + key.encode())))


def relay(
    key_hash: bytes, link_key: bytes, *, letter: bytes = b"R", hosts: Sequence[bytes] = (b"relay.invalid",)
) -> bytes:
    """Write the link of a relay."""
    server = several([short(host) for host in hosts]) + short(b"5223") + short(key_hash)
    return CONTACT + letter + server + short(link_key)


def profile(data: bytes) -> bytes:
    """Write what the app shows."""
    return short(data) if len(data) <= 254 else b"\xff" + large(data)


def contact_user(
    shown: bytes, *, is_direct: bool = True, owners: Sequence[bytes] = (), relays: Sequence[bytes] = ()
) -> bytes:
    """Write the changeable part of a contact link."""
    lists = several(list(owners)) + several(list(relays))
    return CONTACT + AGENT_VERSIONS.encode() + boolean(is_direct) + lists + profile(shown)


def invitation_user(shown: bytes) -> bytes:
    """Write the changeable part of a one-time link."""
    return INVITATION + AGENT_VERSIONS.encode() + profile(shown)


def secret(key: bytes, *, is_invitation: bool) -> bytes:
    """Derive from a link's key what seals both parts."""
    return invitation_secret(key) if is_invitation else contact_keys(key).secret


def sealed(
    fixed_part: bytes,
    user_part: bytes,
    root: PrivateKey,
    *,
    is_invitation: bool,
    signer: PrivateKey | None = None,
    nonces: tuple[bytes, bytes] = (b"f" * 24, b"u" * 24),
) -> LinkData:
    """Sign and seal both parts as a link's maker does; ``signer`` signs the changeable one if it is not the root."""
    under = secret(link_key(fixed_part), is_invitation=is_invitation)
    return LinkData(
        seal_part(under, nonces[0], root, fixed_part, FIXED_SIZE),
        seal_part(under, nonces[1], signer or root, user_part, USER_SIZE),
    )
