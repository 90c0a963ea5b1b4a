"""Hypothesis strategies for SMP: everything that can be said, and bytes that are almost something that was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from onion_rdv.smp.wire.commands import (
    Ack,
    Command,
    Delete,
    Get,
    Key,
    LinkData,
    LinkDelete,
    LinkGet,
    LinkKey,
    LinkSet,
    Mode,
    New,
    Off,
    Ping,
    Que,
    QueueLink,
    RecipientKeys,
    Send,
    SenderKey,
    Sub,
)
from onion_rdv.smp.wire.hello import VERSIONS
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey
from onion_rdv.smp.wire.replies import Deleted, End, Err, Ids, Info, Lnk, Msg, Ok, Pong, Reply
from onion_rdv.smp.wire.transmissions import AUTHENTICATOR_SIZE, Transmission

if TYPE_CHECKING:
    from collections.abc import Sequence


def exactly(size: int) -> st.SearchStrategy[bytes]:
    """Draw so many bytes."""
    return st.binary(min_size=size, max_size=size)


def public_keys(*kinds: Kind) -> st.SearchStrategy[PublicKey]:
    """Draw public keys of these kinds; most belong to no private key, which nobody can see."""
    return st.sampled_from(kinds).flatmap(lambda kind: exactly(kind.size).map(lambda raw: PublicKey(kind, raw)))


def private_keys(kind: Kind) -> st.SearchStrategy[PrivateKey]:
    """Draw private keys."""
    return exactly(kind.size).map(lambda raw: PrivateKey(kind, raw))


SPOKEN = st.integers(VERSIONS.least, VERSIONS.greatest)
IDS = exactly(24)
X25519_KEYS = public_keys(Kind.X25519)
QUEUE_KEYS = public_keys(Kind.ED25519, Kind.X25519)
LINK_DATA = st.builds(LinkData, st.binary(max_size=300), st.binary(max_size=300))

NEWS = st.one_of(
    st.builds(
        New,
        QUEUE_KEYS,
        X25519_KEYS,
        st.sampled_from([None, *Mode]),
        password=st.none() | st.binary(max_size=255),
        subscribe=st.booleans(),
    ),
    st.builds(New, QUEUE_KEYS, X25519_KEYS, st.just(Mode.MESSAGING), link=st.builds(QueueLink, IDS, LINK_DATA)),
    st.builds(New, QUEUE_KEYS, X25519_KEYS, st.just(Mode.CONTACT), link=st.builds(QueueLink, IDS, LINK_DATA, IDS)),
)

COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.sampled_from([Ping(), Sub(), Get(), Off(), Delete(), Que(), LinkGet(), LinkDelete()]),
    NEWS,
    st.one_of(*(st.builds(command, QUEUE_KEYS) for command in (Key, SenderKey, LinkKey))),
    st.builds(RecipientKeys, st.lists(QUEUE_KEYS, min_size=1, max_size=4).map(tuple)),
    st.builds(LinkSet, IDS, LINK_DATA),
    st.builds(Send, st.binary(max_size=300), st.booleans()),
    st.builds(Ack, st.binary(max_size=255)),
)

REPLIES: st.SearchStrategy[Reply] = st.one_of(
    st.sampled_from([Ok(), Pong(), End(), Deleted()]),
    st.builds(Ids, IDS, IDS, X25519_KEYS, st.sampled_from([None, *Mode]), st.none() | IDS),
    st.builds(Lnk, IDS, LINK_DATA),
    st.builds(Msg, IDS, st.binary(max_size=300)),
    st.builds(Info, st.binary(max_size=300)),
    st.builds(Err, st.from_regex(r"[A-Z_]+( [ -~]*)?", fullmatch=True)),
)

AUTHORIZATIONS = st.one_of(st.just(b""), exactly(64), exactly(AUTHENTICATOR_SIZE))

TRANSMISSIONS = st.builds(
    Transmission,
    st.just(b"") | IDS,
    st.just(b"") | IDS,
    st.binary(max_size=300),
    AUTHORIZATIONS,
)


@st.composite
def almost(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """Draw bytes that differ a little from one of the originals: flipped, cut, put in, put twice, or cut off."""
    changed = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        # The beginning has the structure; what follows is often a long box.
        reach = draw(st.sampled_from([len(changed), min(len(changed), 64)]))
        at = draw(st.integers(0, max(reach - 1, 0)))
        size = draw(st.integers(1, 4))
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "repeat", "end"])):
            case "flip" if changed:
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if changed:
                changed[at] = draw(st.sampled_from([0, 1, 0x30, 0x31, 0x7F, 0x80, 0xFF]))
            case "cut":
                del changed[at : at + size]
            case "insert":
                changed[at:at] = draw(exactly(size))
            case "repeat":
                changed[at:at] = changed[at : at + 16 * size]
            case "end":
                del changed[at:]
    return bytes(changed)
