"""What docs/talk.md says, said again with other means: a talk is taken apart without the code that made it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_scalarmult, crypto_scalarmult_base
from talk_material import JOINERS_SENDER_ID, LINK_ID, ONION, SENDER_ID, SERVER, begin, randomness

from onion_rdv.client.talk import conversation, frames, presence, session
from onion_rdv.client.talk.events import Met
from onion_rdv.client.talk.meeting import Joiner
from onion_rdv.smp.wire.envelopes import MAX_MESSAGE_SIZE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "talk.md").read_text()
VECTOR: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "talk_vector.json").read_text())


def hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 with SHA-512, for one or two blocks of output."""
    pseudorandom = hmac.digest(salt or bytes(64), secret, "sha512")
    return hmac.digest(pseudorandom, info + b"\x01", "sha512")[:size]


class Frames:
    """Opens the frames of one direction as the document says."""

    def __init__(self, chain: bytes) -> None:
        self.chain = chain

    def open(self, number: int, frame: bytes) -> list[tuple[int, bytes]]:
        both = hkdf(b"", self.chain, b"onion-rdv talk/1 step", 64)
        self.chain, key = both[:32], both[32:]
        head = b"F" + number.to_bytes(8, "big")
        assert frame[:9] == head
        nonce = number.to_bytes(24, "big")
        items = crypto_aead_xchacha20poly1305_ietf_decrypt(frame[9:], head, nonce, key)
        found = []
        while items:
            length = int.from_bytes(items[1:3], "big")
            found.append((items[0], items[3 : 3 + length]))
            items = items[3 + length :]
        return found


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_talk_is_as_the_document_says() -> None:
    beginner, link, introduced = begin(1)
    introduction = introduced.encode()
    a, na = beginner._talk_key, beginner._nonce
    assert a is not None
    assert introduction == b"".join(
        (
            b"onion-rdv talk\x00\x01",
            beginner._root.public.raw,
            beginner.queue_key.public.raw,
            crypto_scalarmult_base(a.raw),
            hashlib.sha256(b"onion-rdv talk/1 commitment" + na).digest(),
            b"\x18" + SENDER_ID,
        )
    )
    link_key = hashlib.sha3_256(introduction).digest()
    fingerprint = base64url(SERVER.key_hash)
    assert str(link) == f"rdv-talk://{fingerprint}@{ONION}/{base64url(LINK_ID)}#{base64url(link_key)}"

    joiner = Joiner(randomness(2))
    b, nb = joiner._talk_key, joiner._nonce
    joined = joiner.meet(link, introduced, JOINERS_SENDER_ID, SERVER, 0)
    sent = joined.outgoing()
    assert sent is not None
    hello = sent.message
    assert hello == b"".join(
        (
            b"H\x00\x01",
            crypto_scalarmult_base(b.raw),
            nb,
            joiner.queue_key.public.raw,
            b"\x18" + JOINERS_SENDER_ID,
            SERVER.key_hash,
            bytes([len(ONION)]) + ONION.encode(),
            (5223).to_bytes(2, "big"),
        )
    )
    _, begun = beginner.meet(link, hello, 0)

    written = str(link).encode()
    transcript = hashlib.sha256(
        b"onion-rdv talk/1 transcript" + len(written).to_bytes(2, "big") + written + hello
    ).digest()
    secret = crypto_scalarmult(b.raw, crypto_scalarmult_base(a.raw))
    chains = hkdf(transcript, secret, b"onion-rdv talk/1 chains", 64)
    to_joiner, to_beginner = Frames(chains[:32]), Frames(chains[32:])

    begun.say("good evening")
    first = begun.outgoing()
    assert first is not None
    assert to_joiner.open(1, first.message) == [(1, na), (2, b"good evening")]
    number = int.from_bytes(hashlib.sha256(b"onion-rdv talk/1 code" + transcript + na).digest()[:16], "big")
    code = (number // 7776**2 % 7776, number // 7776 % 7776, number % 7776)
    assert begun.code == code
    joined.sent(0, 0)
    assert joined.receive(first.message, 0)[0] == Met(begun.code)
    joined.shown()

    joined.compare(same=True)
    joined.end_input()
    joined.leave()
    last = joined.outgoing()
    assert last is not None
    receipt = (4, (1).to_bytes(8, "big"))
    assert to_beginner.open(1, last.message) == [receipt, (6, b"\x01"), (7, b""), (8, b"")]

    assert {
        "beginner": {
            "root": beginner._root.raw.hex(),
            "queue_key": beginner.queue_key.raw.hex(),
            "talk_key": a.raw.hex(),
            "nonce": na.hex(),
            "sender_id": SENDER_ID.hex(),
        },
        "joiner": {
            "queue_key": joiner.queue_key.raw.hex(),
            "talk_key": b.raw.hex(),
            "nonce": nb.hex(),
            "sender_id": JOINERS_SENDER_ID.hex(),
        },
        "introduction": introduction.hex(),
        "link": str(link),
        "hello": hello.hex(),
        "transcript": transcript.hex(),
        "chains": chains.hex(),
        "code": list(code),
        "frame_to_joiner": first.message.hex(),
        "frame_to_beginner": last.message.hex(),
    } == {name: value for name, value in VECTOR.items() if name != "comment"}


def test_items_have_the_types_and_names_of_the_document() -> None:
    section = TEXT.split("\n### Frames\n")[1].split("\n### ")[0]
    documented = {
        int(number): name for number, name in re.findall(r"^\| ([0-9]+) \| ([a-z ]+) \|", section, re.MULTILINE)
    }
    kinds: dict[str, Any] = {
        "welcome": frames.Welcome,
        "text": frames.Text,
        "text begun": frames.TextBegun,
        "receipt": frames.Receipt,
        "ping": frames.Ping,
        "verdict": frames.Verdict,
        "input ended": frames.InputEnded,
        "goodbye": frames.Bye,
    }
    assert {kind.type: name for name, kind in kinds.items()} == documented


@pytest.mark.parametrize(
    "says",
    [
        f"at most {MAX_MESSAGE_SIZE:,} bytes",
        f"at most {session.MAX_TEXT_SIZE:,} bytes",
        f"nothing for {presence.PING_AFTER:.0f} s",
        f"anything for {presence.SILENT_AFTER:.0f} s",
        f"up to {conversation._LAST_WORDS:.0f} s",
        f"{7776**3:,}",
    ],
)
def test_numbers_are_those_of_the_document(says: str) -> None:
    assert says in " ".join(TEXT.split())
