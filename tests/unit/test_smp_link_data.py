"""Link data: what a link leads to, and who may have said so."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smp_link_data import (
    AGENT_VERSIONS,
    CLIENT_VERSIONS,
    contact_user,
    fixed,
    invitation_user,
    owner,
    profile,
    queue,
    ratchet,
    relay,
    sealed,
    secret,
)
from smp_strategies import exactly

from onion_rdv.errors import LinkDataRefused, MalformedBlock, MessagingCheckFailed
from onion_rdv.smp.wire.commands import LinkData
from onion_rdv.smp.wire.connection_info import ConnectionInfo, QueueAddress, read_connection_info
from onion_rdv.smp.wire.crypto import box_key, seal_padded
from onion_rdv.smp.wire.encoding import Versions, large, several, short
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.link_data import (
    FIXED_SIZE,
    USER_SIZE,
    ContactKeys,
    SignedPart,
    contact_keys,
    invitation_secret,
    link_key,
    open_parts,
    seal_part,
    sender_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT, ANN, BOB, STRANGER = (PrivateKey(Kind.ED25519, bytes([number]) * 32) for number in range(1, 5))
DH = PrivateKey(Kind.X25519, bytes([5]) * 32).public
X448 = PrivateKey(Kind.X448, bytes([6]) * 56).public
ID = bytes(range(24))
HASH = bytes(range(32))
KEM = b"P" + large(bytes(1158))

QUEUE = queue(ID, DH, key_hash=HASH)
CONTACT = fixed(ROOT.public, b"C", [QUEUE])
INVITATION = fixed(ROOT.public, b"I", [QUEUE + b"T"]) + ratchet((X448, X448))


def read(
    fixed_part: bytes, user_part: bytes, *, is_invitation: bool = False, signer: PrivateKey | None = None
) -> ConnectionInfo:
    key = link_key(fixed_part)
    data = sealed(fixed_part, user_part, ROOT, is_invitation=is_invitation, signer=signer)
    parts = open_parts(key, secret(key, is_invitation=is_invitation), data)
    return read_connection_info(parts, ID, is_invitation=is_invitation)


def test_keys_follow_from_the_fixed_part_and_ids_from_the_correlation_id() -> None:
    assert link_key(b"fixed") == hashlib.sha3_256(b"fixed").digest()
    assert sender_id(ID) == hashlib.sha3_384(ID).digest()[:24]
    keys = contact_keys(HASH)
    assert (len(keys.link_id), len(keys.secret), len(invitation_secret(HASH))) == (24, 32, 32)
    assert keys.secret != invitation_secret(HASH)
    assert repr(keys) == "ContactKeys()"


@given(st.binary(max_size=FIXED_SIZE - 67), st.binary(max_size=USER_SIZE - 67), exactly(24), exactly(24))
def test_both_parts_are_opened(fixed_part: bytes, user_part: bytes, one: bytes, other: bytes) -> None:
    key = link_key(fixed_part)
    data = sealed(fixed_part, user_part, ROOT, is_invitation=True, nonces=(one, other))
    assert (len(data.fixed), len(data.user)) == (2048, 13_824)
    parts = open_parts(key, invitation_secret(key), data)
    assert (parts.fixed.data, parts.user.data) == (fixed_part, user_part)
    parts.check_root(ROOT.public)
    with pytest.raises(LinkDataRefused, match="the signature on its fixed part is wrong"):
        parts.check_root(STRANGER.public)


def test_a_part_has_room_for_its_size_less_67_bytes() -> None:
    for size in (FIXED_SIZE, USER_SIZE):
        assert len(seal_part(HASH, ID, ROOT, bytes(size - 67), size)) == size + 40
        with pytest.raises(ValueError, match=f"do not fit into {size}"):
            seal_part(HASH, ID, ROOT, bytes(size - 66), size)


def sealed_plainly(plain: bytes) -> bytes:
    return ID + seal_padded(box_key(invitation_secret(link_key(CONTACT))), ID, plain, FIXED_SIZE)


GOOD = sealed(CONTACT, contact_user(b"x"), ROOT, is_invitation=True)

NOT_OPENED: dict[str, tuple[LinkData, type[Exception], str]] = {
    "nothing": (LinkData(b"", b""), LinkDataRefused, "does not open with the link's key"),
    "no user part": (LinkData(GOOD.fixed, b""), LinkDataRefused, "does not open with the link's key"),
    "half a nonce": (LinkData(GOOD.fixed[:12], GOOD.user), LinkDataRefused, "does not open with the link's key"),
    "half a tag": (LinkData(GOOD.fixed[:32], GOOD.user), LinkDataRefused, "does not open with the link's key"),
    "a changed part": (LinkData(GOOD.fixed[:-1] + b"\0", GOOD.user), LinkDataRefused, "does not open"),
    "the user part twice": (
        LinkData(GOOD.user, GOOD.user),
        LinkDataRefused,
        "not the one that the link was made for",
    ),
    "another fixed part": (
        LinkData(sealed_plainly(short(bytes(64)) + INVITATION), GOOD.user),
        LinkDataRefused,
        "not the one that the link was made for",
    ),
    "a short signature": (LinkData(sealed_plainly(short(bytes(63))), GOOD.user), MalformedBlock, "has 63 bytes"),
    "no signature": (LinkData(sealed_plainly(b""), GOOD.user), MalformedBlock, "cut short"),
}


@pytest.mark.parametrize("name", NOT_OPENED)
def test_parts_that_the_link_does_not_mean_are_refused(name: str) -> None:
    data, error, reason = NOT_OPENED[name]
    key = link_key(CONTACT)
    with pytest.raises(MessagingCheckFailed, match=reason) as caught:
        open_parts(key, invitation_secret(key), data)
    assert type(caught.value) is error


def test_the_changeable_part_has_to_be_signed_too() -> None:
    key = link_key(CONTACT)
    data = sealed(CONTACT, b"user", ROOT, is_invitation=True, signer=STRANGER)
    with pytest.raises(LinkDataRefused, match="the signature on its changeable part is wrong"):
        open_parts(key, invitation_secret(key), data).check_root(ROOT.public)


def test_a_contact_link_tells_who_and_where() -> None:
    info = read(CONTACT, contact_user(b'{"displayName":"ann"}'))
    address = QueueAddress(CLIENT_VERSIONS, ("127.0.0.1",), "15223", HASH, ID, DH)
    assert info == ConnectionInfo(
        is_invitation=False,
        agent_versions=AGENT_VERSIONS,
        root_key=ROOT.public,
        queues=(address,),
        is_direct=True,
        relays=0,
        profile=b'{"displayName":"ann"}',
    )
    assert "displayName" not in repr(info)


@pytest.mark.parametrize("kem", [None, KEM], ids=["", "with a post-quantum key"])
def test_a_one_time_link_does_too(kem: bytes | None) -> None:
    part = fixed(ROOT.public, b"I", [QUEUE + b"T"]) + ratchet((X448, X448), kem)
    info = read(part, invitation_user(b"profile"), is_invitation=True)
    assert (info.is_invitation, info.is_direct, info.relays, info.profile) == (True, True, 0, b"profile")


@pytest.mark.parametrize("mode", [b"", b"T", b"F", b"M", b"C"])
@pytest.mark.parametrize("client_data", [None, b"", b"x" * 300])
def test_all_that_a_fixed_part_can_have_is_read(mode: bytes, client_data: bytes | None) -> None:
    onion = queue(bytes(24), DH, key_hash=HASH, hosts=[b"smp.example", b"a" * 56 + b".onion"], port=b"", mode=mode)
    part = fixed(ROOT.public, b"C", [QUEUE + mode, onion], client_data=client_data)
    for more in (b"", short(b"entity id"), b"what a later version says"):
        info = read(part + more, contact_user(b"x"))
        assert [address.hosts for address in info.queues] == [
            ("127.0.0.1",),
            ("smp.example", "a" * 56 + ".onion"),
        ]
        assert info.queues[1].port == ""


@given(st.binary(max_size=300) | st.just(b"x" * 13_000))
def test_a_profile_may_be_long(shown: bytes) -> None:
    assert read(CONTACT, contact_user(shown)).profile == shown
    assert read(INVITATION, invitation_user(shown) + b"more", is_invitation=True).profile == shown


@pytest.mark.parametrize("size", [0, 1, 253, 254, 255, 256])
def test_a_profile_of_more_than_254_bytes_has_a_longer_length(size: int) -> None:
    assert (profile(bytes(size))[0] == 0xFF) is (size > 254)
    assert read(CONTACT, contact_user(bytes(size))).profile == bytes(size)


RELAYS = [
    relay(HASH, HASH, letter=letter, hosts=[b"one.example", b"two.example"]) for letter in (b"A", b"C", b"G", b"R")
]


def test_relays_are_counted() -> None:
    info = read(CONTACT, contact_user(b"x", is_direct=False, relays=RELAYS))
    assert (info.relays, info.is_direct, info.profile) == (4, False, b"x")


OWNERS = [owner(b"ann", ANN.public, ROOT), owner(b"bob", BOB.public, ANN)]


@pytest.mark.parametrize("signer", [ROOT, ANN, BOB], ids=["root", "ann", "bob"])
def test_owners_may_sign_the_changeable_part(signer: PrivateKey) -> None:
    assert read(CONTACT, contact_user(b"x", owners=OWNERS), signer=signer).profile == b"x"


def strange_queue(address: bytes) -> bytes:
    return fixed(ROOT.public, b"C", [address])


def owned(*owners: bytes) -> tuple[bytes, bytes]:
    return CONTACT, contact_user(b"x", owners=owners)


def relayed(one: bytes) -> tuple[bytes, bytes]:
    return CONTACT, contact_user(b"x", relays=[one])


USER = contact_user(b"x")
CONTACT_WITH_X448_ROOT = CONTACT.replace(short(ROOT.public.encode()), short(X448.encode()))
OTHER_ROOT = fixed(STRANGER.public, b"C", [QUEUE])
NOT_VOUCHED = "an owner that it names is not vouched for"
TWICE = "it names an owner twice"

REFUSED: dict[str, tuple[tuple[bytes, bytes], str]] = {
    "nothing": ((b"", USER), "cut short"),
    "versions upside down": ((b"\0\7\0\2" + CONTACT[4:], USER), "upside down"),
    "a root key of another kind": ((CONTACT_WITH_X448_ROOT, USER), "of a kind that does not belong there"),
    "another root key": ((OTHER_ROOT, USER), "the signature on its fixed part is wrong"),
    "another type": ((fixed(ROOT.public, b"I", [QUEUE]), USER), "of another type than the link says"),
    "no type": ((fixed(ROOT.public, b"X", [QUEUE]), USER), "of another type than the link says"),
    "no queue": ((fixed(ROOT.public, b"C", []), USER), "another queue than the server does"),
    "another queue": ((strange_queue(queue(bytes(24), DH, key_hash=HASH)), USER), "another queue than the server"),
    "a queue with a short id": ((strange_queue(queue(ID[1:], DH, key_hash=HASH)), USER), "has 23 bytes"),
    "a queue with a short key hash": ((strange_queue(queue(ID, DH, key_hash=HASH[1:])), USER), "has 31 bytes"),
    "a queue without a host": (
        (strange_queue(queue(ID, DH, key_hash=HASH, hosts=[])), USER),
        "a server in it has no host",
    ),
    "a host with a line break": (
        (strange_queue(queue(ID, DH, key_hash=HASH, hosts=[b"a\nb"])), USER),
        "is not plain text",
    ),
    "a port with a colour": (
        (strange_queue(queue(ID, DH, key_hash=HASH, port=b"\x1b[31m")), USER),
        "is not plain text",
    ),
    "a host with an accent": (
        (strange_queue(queue(ID, DH, key_hash=HASH, hosts=[b"caf\xe9"])), USER),
        "is not plain text",
    ),
    "a queue with an Ed25519 key": ((strange_queue(queue(ID, ROOT.public, key_hash=HASH)), USER), "of a kind that"),
    "half a queue": ((strange_queue(QUEUE[:-9]), USER), "a key in it cannot be read|cut short|neither"),
    "no user part": ((CONTACT, b""), "cut short"),
    "a user part of another type": ((CONTACT, invitation_user(b"x")), "something stands where"),
    "user versions upside down": ((CONTACT, b"C\0\7\0\2" + USER[5:]), "upside down"),
    "no profile": ((CONTACT, USER[:-2]), "cut short"),
    "half a profile": ((CONTACT, USER[:-1]), "cut short"),
    "half a long profile": ((CONTACT, USER[:-2] + b"\xff\1\0xyz"), "cut short"),
    "an owner that nobody vouches for": (owned(owner(b"ann", ANN.public, STRANGER)), NOT_VOUCHED),
    "an owner that vouches for itself": (owned(owner(b"ann", ANN.public, ANN)), NOT_VOUCHED),
    "owners in the wrong order": (owned(*OWNERS[::-1]), NOT_VOUCHED),
    "an owner twice": (owned(OWNERS[0], OWNERS[0]), TWICE),
    "an owner's key twice": (owned(OWNERS[0], owner(b"bob", ANN.public, ROOT)), TWICE),
    "an owner's id twice": (owned(OWNERS[0], owner(b"ann", BOB.public, ROOT)), TWICE),
    "the root as an owner": (owned(owner(b"root", ROOT.public, ROOT)), TWICE),
    "an owner of another kind": (owned(owner(b"ann", X448, ROOT)), "of a kind that does not belong there"),
    "half an owner": (owned(short(OWNERS[0][1:40])), "cut short"),
    "a relay of another type": (relayed(relay(HASH, HASH, letter=b"I")), "a relay in it is of a type"),
    "a relay's one-time link": (relayed(b"I" + RELAYS[0][1:]), "something stands where"),
    "a relay without a host": (relayed(relay(HASH, HASH, hosts=[])), "a server in it has no host"),
    "a relay with a short key": (relayed(relay(HASH, HASH[1:])), "has 31 bytes"),
    "a relay with a short key hash": (relayed(relay(HASH[1:], HASH)), "has 31 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_link_data_that_is_not_right_is_refused(name: str) -> None:
    (fixed_part, user_part), reason = REFUSED[name]
    with pytest.raises(LinkDataRefused, match=reason):
        read(fixed_part, user_part)


RATCHET = ratchet((X448, X448))

REFUSED_INVITATIONS = {
    "no ratchet keys": (b"", "cut short"),
    "one ratchet key": (RATCHET[:73], "cut short"),
    "ratchet keys of another kind": (ratchet((DH, DH)), "of a kind that does not belong there"),
    "no word of a post-quantum key": (RATCHET[:-1], "cut short"),
    "a post-quantum key that answers": (
        ratchet((X448, X448), b"A" + large(bytes(103)) + large(bytes(1158))),
        "something stands where",
    ),
    "half a post-quantum key": (ratchet((X448, X448), KEM[:-1]), "cut short"),
}


@pytest.mark.parametrize("name", REFUSED_INVITATIONS)
def test_one_time_link_data_that_is_not_right_is_refused(name: str) -> None:
    keys, reason = REFUSED_INVITATIONS[name]
    with pytest.raises(LinkDataRefused, match=reason):
        read(fixed(ROOT.public, b"I", [QUEUE + b"T"]) + keys, invitation_user(b"x"), is_invitation=True)


@pytest.mark.parametrize("signer", [STRANGER, ANN], ids=["a stranger", "somebody named as an owner of nothing"])
def test_only_root_and_owners_sign(signer: PrivateKey) -> None:
    with pytest.raises(LinkDataRefused, match="the signature on its changeable part is wrong"):
        read(CONTACT, USER, signer=signer)
    with pytest.raises(LinkDataRefused, match="the signature on its changeable part is wrong"):
        read(INVITATION, invitation_user(b"x"), is_invitation=True, signer=signer)


def test_the_server_may_not_give_another_sender_id() -> None:
    key = link_key(CONTACT)
    parts = open_parts(key, contact_keys(key).secret, sealed(CONTACT, USER, ROOT, is_invitation=False))
    with pytest.raises(LinkDataRefused, match="it names another queue than the server does"):
        read_connection_info(parts, ID[::-1], is_invitation=False)


SHOWN: list[Callable[[], object]] = [
    lambda: SignedPart(b"secret", b"secret"),
    lambda: LinkData(b"secret", b"secret"),
    lambda: ContactKeys(b"secret", b"secret"),
]


@pytest.mark.parametrize("make", SHOWN)
def test_what_a_link_leads_to_does_not_show(make: Callable[[], object]) -> None:
    assert "secret" not in repr(make())


def test_a_long_list_ends_where_it_says() -> None:
    many = fixed(ROOT.public, b"C", [])[:-2] + several([QUEUE] * 12) + b"0"
    assert len(read(many, USER).queues) == 12
    assert read(many, USER).agent_versions == Versions(2, 7)
