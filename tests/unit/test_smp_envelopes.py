"""How messages are wrapped: by the sender for the recipient, and by the server around that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smp_strategies import QUEUE_KEYS, exactly, private_keys
from test_smp_crypto import LOW_ORDER

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.commands import MAX_BODY_SIZE
from onion_rdv.smp.wire.crypto import agreed_box_key, seal_padded, unseal_padded
from onion_rdv.smp.wire.encoding import short
from onion_rdv.smp.wire.envelopes import DELIVERY_SIZE, MAX_MESSAGE_SIZE, Delivery, Envelope
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable

SENDER = PrivateKey(Kind.X25519, bytes(range(32)))
RECIPIENT = PrivateKey(Kind.X25519, bytes(range(32, 64)))
ED25519 = PrivateKey(Kind.ED25519, bytes(range(32)))
X448 = PrivateKey(Kind.X448, bytes(range(56)))
NONCE = bytes(range(24))
KEY = bytes(range(100, 132))
BOX_KEY = agreed_box_key(SENDER.raw, RECIPIENT.public.raw, "a test")

SENDERS = private_keys(Kind.X25519)
MESSAGES = st.binary(max_size=60) | st.binary(max_size=60).map(lambda start: start.ljust(MAX_MESSAGE_SIZE, b"x"))
TIMES = st.integers(-(2**63), 2**63 - 1)


@given(MESSAGES, SENDERS, SENDERS, exactly(24))
def test_an_envelope_is_opened(message: bytes, sender: PrivateKey, recipient: PrivateKey, nonce: bytes) -> None:
    body = Envelope(message).seal(sender, recipient.public, nonce)
    assert len(body) == 15_992 < MAX_BODY_SIZE  # whatever is in it
    assert Envelope.open(body, recipient) == (Envelope(message), sender.public)


@given(st.binary(max_size=60), QUEUE_KEYS)
def test_a_confirmation_hands_over_a_key(message: bytes, key: PublicKey) -> None:
    envelope = Envelope(message, key)
    body = envelope.seal(SENDER, RECIPIENT.public, NONCE)
    assert Envelope.open(body, RECIPIENT) == (envelope, SENDER.public)


def test_an_envelope_holds_15_901_bytes() -> None:
    for confirmation, most in ((None, MAX_MESSAGE_SIZE), (ED25519.public, MAX_MESSAGE_SIZE - 45)):
        body = Envelope(bytes(most), confirmation).seal(SENDER, RECIPIENT.public, NONCE)
        assert Envelope.open(body, RECIPIENT)[0].message == bytes(most)
        with pytest.raises(ValueError, match="do not fit into 15904"):
            Envelope(bytes(most + 1), confirmation).seal(SENDER, RECIPIENT.public, NONCE)


def test_an_envelope_that_names_no_sender_is_opened_with_the_earlier_key() -> None:
    body = Envelope(b"text").seal(SENDER, RECIPIENT.public, NONCE)
    nameless = body[:2] + b"0" + body[48:]
    assert Envelope.open(nameless, RECIPIENT, SENDER.public) == (Envelope(b"text"), SENDER.public)
    with pytest.raises(MalformedBlock, match="a message's envelope: it names no sender's key"):
        Envelope.open(nameless, RECIPIENT)
    # A key that it does name is the one to take.
    assert Envelope.open(body, RECIPIENT, RECIPIENT.public) == (Envelope(b"text"), SENDER.public)


def envelope(
    inner: bytes, version: int = 4, sender: bytes = b"1" + short(SENDER.public.encode()), nonce: bytes = NONCE
) -> bytes:
    return version.to_bytes(2, "big") + sender + nonce + seal_padded(BOX_KEY, NONCE, inner, 15_904)


WRONG = {
    "nothing": (b"", "cut short"),
    "version 0": (envelope(b"_", version=0), "its version is 0"),
    "version 5": (envelope(b"_", version=5), "its version is 5"),
    "an Ed25519 key": (
        envelope(b"_", sender=b"1" + short(ED25519.public.encode())),
        "of a kind that does not belong",
    ),
    "no flag": (envelope(b"_", sender=b"2"), "neither there nor missing"),
    "a short nonce": (envelope(b"_")[:60], "cut short"),
    "no box": (envelope(b"_")[:72], "cut short"),
    "another nonce": (envelope(b"_", nonce=bytes(24)), "does not open"),
    "another header": (envelope(b"X"), "begins in a way that is not known"),
    "no header": (envelope(b""), "cut short"),
    "a confirmation without a key": (envelope(b"K"), "cut short"),
    "a confirmation with an X448 key": (envelope(b"K" + short(X448.public.encode())), "of a kind that does not"),
    **{
        f"a key of low order ({low.hex()[:6]})": (
            envelope(b"_", sender=b"1" + short(PublicKey(Kind.X25519, low).encode())),
            "its key is of low order",
        )
        for low in LOW_ORDER
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_envelope_is_refused(name: str) -> None:
    body, reason = WRONG[name]
    with pytest.raises(MalformedBlock, match=f"a message's envelope: .*{reason}"):
        Envelope.open(body, RECIPIENT)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_earlier_versions_of_the_envelope_are_read(version: int) -> None:
    assert Envelope.open(envelope(b"_text", version=version), RECIPIENT)[0] == Envelope(b"text")


@given(TIMES, st.binary(max_size=MAX_BODY_SIZE) | st.just(bytes(MAX_BODY_SIZE)), st.booleans(), exactly(24))
def test_what_a_server_delivers_is_opened(sent_at: int, body: bytes, notify: bool, message_id: bytes) -> None:
    delivery = Delivery(sent_at, body, notify)
    box = delivery.seal(KEY, message_id)
    assert len(box) == DELIVERY_SIZE == 16_122
    if not sent_at.to_bytes(8, "big", signed=True).startswith(b"QUOTA "):
        assert Delivery.open(KEY, message_id, box) == delivery


@given(TIMES, exactly(24))
def test_the_mark_of_a_queue_that_had_been_full_is_told_from_messages(sent_at: int, message_id: bytes) -> None:
    box = Delivery(sent_at, None).seal(KEY, message_id)
    assert len(box) == DELIVERY_SIZE
    assert Delivery.open(KEY, message_id, box) == Delivery(sent_at, None)


def test_a_mark_is_written_as_simplexmq_writes_it() -> None:
    box = Delivery(2**32 + 1, None).seal(KEY, NONCE)
    assert unseal_padded(KEY, NONCE, box, "a test") == b"QUOTA \0\0\0\1\0\0\0\1"


def test_a_body_too_large_to_deliver_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit into 16106"):
        Delivery(0, bytes(16_106 - 2 - 10 + 1)).seal(KEY, NONCE)


TIME = bytes(8)


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (b"", "cut short"),
        (TIME[1:], "cut short"),
        (TIME, "cut short"),
        (TIME + b"X text", "neither T nor F"),
        (TIME + b"Ttext", "cut short"),
        (b"QUOTA " + TIME[1:], "cut short"),
        (b"QUOTA " + TIME + b"x", "more than belongs there"),
    ],
)
def test_what_is_no_delivery_is_refused(inner: bytes, reason: str) -> None:
    with pytest.raises(MalformedBlock, match=f"a message: .*{reason}"):
        Delivery.open(KEY, NONCE, seal_padded(KEY, NONCE, inner, 16_106))


def test_flags_of_later_versions_are_passed_over() -> None:
    box = seal_padded(KEY, NONCE, TIME + b"TFX more text", 16_106)
    assert Delivery.open(KEY, NONCE, box) == Delivery(0, b"more text", notify=True)


@pytest.mark.parametrize("size", [0, 23, 25])
def test_a_message_id_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(MalformedBlock, match=f"a message: its id has {size} bytes"):
        Delivery.open(KEY, bytes(size), bytes(DELIVERY_SIZE))


SHOWN: list[Callable[[bytes], object]] = [Envelope, lambda text: Delivery(0, text)]


@pytest.mark.parametrize("make", SHOWN)
def test_a_message_does_not_show(make: Callable[[bytes], object]) -> None:
    assert "text" not in repr(make(b"text"))
