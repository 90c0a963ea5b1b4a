"""What the two ends of a talk say to each other."""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

from fuzz.harness import harness, text
from onion_rdv.client.talk.frames import Opener, decode_items, encode_items
from onion_rdv.client.talk.introductions import Hello, Introduction
from onion_rdv.client.talk.keys import Chain
from onion_rdv.client.talk.link import TalkLink
from onion_rdv.errors import MalformedEntry, TalkBroken, UsageError

KEY: Final = b"k" * 32


@harness
def talk_items(data: bytes) -> bool:
    """The items of a frame are read and written back, or refused."""
    try:
        items = decode_items(data)
    except TalkBroken:
        return False
    assert encode_items(items) == data
    return True


@harness
def talk_frame(data: bytes) -> bool:
    """A frame that the other end has sealed is opened once; one that was changed, or is no frame, changes nothing.

    Everything but the key is the sender's choice: the head, and what is sealed.
    """
    head, inner = data[:9], data[9:]
    number = int.from_bytes(head[1:], "big")
    opener = Opener(Chain(KEY))
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(
        inner, head, (number % 2**64).to_bytes(24, "big"), Chain(KEY).step()
    )
    try:
        items = opener.open(head + sealed)
    except TalkBroken:
        assert opener.number == 0
        try:
            opener.open(data)
        except TalkBroken:
            assert opener.number == 0
        return False
    if items is not None:
        assert opener.number == number == 1
        assert encode_items(items) == inner
        assert opener.open(head + sealed) is None
    return items is not None


@harness
def talk_introduction(data: bytes) -> bool:
    """A beginner's introduction is read and written back, or refused."""
    try:
        read = Introduction.decode(data)
    except TalkBroken:
        return False
    assert read.encode() == data
    return True


@harness
def talk_hello(data: bytes) -> bool:
    """A joiner's hello is read and written back, or refused."""
    try:
        read = Hello.decode(data)
    except TalkBroken:
        return False
    assert read.encode() == data
    return True


@harness
def talk_link(data: bytes) -> bool:
    """The link to a talk has one spelling."""
    given = text(data)
    try:
        read = TalkLink.parse(given)
    except (MalformedEntry, UsageError):
        return False
    assert str(read) == given
    return True
