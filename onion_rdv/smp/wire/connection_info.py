"""What link data says when it was made by the SimpleX app: who may be reached, and how (docs/smp.md, "Link data").

Only what can be shown or checked is read. The keys of the app's double ratchet are checked for their form and left
alone: talking to the app is the app's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from onion_rdv.errors import LinkDataRefused, MalformedBlock
from onion_rdv.protocol.short_link import KEY_HASH_SIZE, LINK_KEY_SIZE
from onion_rdv.smp.wire.encoding import Reader, Versions
from onion_rdv.smp.wire.keys import SIGNATURE_SIZE, Kind, PublicKey
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE

if TYPE_CHECKING:
    from onion_rdv.smp.wire.link_data import LinkParts

_CONTACT, _INVITATION = b"C", b"I"
_WHAT: Final = "link data"
_LONG: Final = 0xFF
_MODES: Final = {b"T", b"F", b"M", b"C"}
_RELAY_TYPES: Final = {b"A", b"C", b"G", b"R"}  # contact, channel, group, relay


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue that can be sent to: its server, its sender id, and the recipient's key for the envelopes."""

    versions: Versions
    hosts: tuple[str, ...]
    port: str
    key_hash: bytes
    sender_id: bytes
    dh_key: PublicKey = field(repr=False)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Take it from link data."""
        versions = reader.versions()
        hosts = tuple(_text(reader, host) for host in _hosts(reader))
        port = _text(reader, reader.short())
        key_hash = reader.short(KEY_HASH_SIZE)
        sender_id = reader.short(ENTITY_ID_SIZE)
        dh_key = PublicKey.decode(reader.short(), _WHAT, Kind.X25519)
        if reader.peek() in _MODES:
            reader.take(1)
        return cls(versions, hosts, port, key_hash, sender_id, dh_key)


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What the maker of a link says about it."""

    is_invitation: bool
    agent_versions: Versions
    root_key: PublicKey
    queues: tuple[QueueAddress, ...]
    is_direct: bool
    """Whether the queues may be written to, or relays stand in between."""

    relays: int
    """How many relays it names (for channels)."""

    profile: bytes = field(repr=False)
    """What the app shows of the maker: usually JSON; nobody but the maker vouches for it."""


def read_connection_info(parts: LinkParts, sender_id: bytes, *, is_invitation: bool) -> ConnectionInfo:
    """Read and check link data.

    ``sender_id`` is the one in the server's reply; ``is_invitation`` says what the link claimed to be. Raises
    :class:`~onion_rdv.errors.LinkDataRefused`, or :class:`~onion_rdv.errors.MalformedBlock`.
    """
    try:
        return _read(parts, sender_id, is_invitation=is_invitation)
    except MalformedBlock as error:
        raise LinkDataRefused(error.detail) from None


def _read(parts: LinkParts, sender_id: bytes, *, is_invitation: bool) -> ConnectionInfo:
    reader = Reader(parts.fixed.data, _WHAT)
    agent_versions = reader.versions()
    root_key = PublicKey.decode(reader.short(), _WHAT, Kind.ED25519)
    parts.check_fixed(root_key)
    mode = reader.take(1)
    if mode != (_INVITATION if is_invitation else _CONTACT):
        raise LinkDataRefused("it is of another type than the link says")
    reader.versions()
    queues = tuple(reader.several(lambda: QueueAddress.read(reader)))
    if not queues or queues[0].sender_id != sender_id:
        raise LinkDataRefused("it names another queue than the server does")
    reader.maybe(reader.large)
    if is_invitation:
        _skip_ratchet_keys(reader)
    # What a later version adds at the end is left alone, as simplexmq does.
    user = Reader(parts.user.data, _WHAT)
    user.expect(mode)
    user.versions()
    owners: list[PublicKey] = []
    is_direct, relays = True, 0
    if not is_invitation:
        is_direct = user.boolean()
        owners = _read_owners(user, root_key)
        relays = len(user.several(lambda: _skip_relay(user)))
    profile = _read_profile(user)
    if not any(parts.user.is_signed_by(key) for key in (root_key, *owners)):
        raise LinkDataRefused("the signature on its changeable part is wrong")
    return ConnectionInfo(is_invitation, agent_versions, root_key, queues, is_direct, relays, profile)


def _skip_ratchet_keys(reader: Reader) -> None:
    reader.versions()
    for _ in range(2):
        PublicKey.decode(reader.short(), _WHAT, Kind.X448)
    reader.maybe(lambda: _skip_kem(reader))


def _skip_kem(reader: Reader) -> None:
    reader.expect(b"P")  # proposed: the other form comes with a ciphertext, and answers one like this
    reader.large()


def _read_owners(reader: Reader, root: PublicKey) -> list[PublicKey]:
    """Read who else may sign: each is vouched for by the root or by an owner before, and none is there twice."""
    owners: list[PublicKey] = []
    ids: set[bytes] = set()
    for encoded in reader.several(reader.short):
        inner = Reader(encoded, _WHAT)
        owner_id, der = inner.short(), inner.short()
        signature = inner.short(SIGNATURE_SIZE)
        key = PublicKey.decode(der, _WHAT, Kind.ED25519)
        if not any(voucher.has_signed(owner_id + der, signature) for voucher in (root, *owners)):
            raise LinkDataRefused("an owner that it names is not vouched for")
        if owner_id in ids or key in (root, *owners):
            raise LinkDataRefused("it names an owner twice")
        ids.add(owner_id)
        owners.append(key)
    return owners


def _skip_relay(reader: Reader) -> None:
    """Take a relay's short link, in SMP's own encoding."""
    reader.expect(_CONTACT)
    if reader.take(1) not in _RELAY_TYPES:
        raise reader.fault("a relay in it is of a type that is not known")
    _hosts(reader)
    reader.short()  # port
    reader.short(KEY_HASH_SIZE)
    reader.short(LINK_KEY_SIZE)


def _hosts(reader: Reader) -> list[bytes]:
    hosts = reader.several(reader.short)
    if not hosts:
        raise reader.fault("a server in it has no host")
    return hosts


def _read_profile(reader: Reader) -> bytes:
    if reader.peek() == bytes([_LONG]):
        reader.take(1)
        return reader.large()
    return reader.short()


def _text(reader: Reader, value: bytes) -> str:
    text = value.decode("latin-1")
    if not text.isascii() or not text.isprintable():
        raise reader.fault("a host or port in it is not plain text")
    return text
