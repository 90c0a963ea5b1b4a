"""Public keys in DER: the one way to write each is read, and nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from smp_strategies import exactly, private_keys, public_keys

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.keys import SIGNATURE_SIZE, Kind, PrivateKey, PublicKey, verifies

ED25519 = PrivateKey(Kind.ED25519, bytes(range(32)))

STRANGE = {
    "nothing": b"",
    "one byte": b"0",
    "text": b"-----BEGIN PUBLIC KEY-----",
    "Ed25519, cut short": ED25519.public.encode()[:-1],
    "Ed25519, with a byte behind it": ED25519.public.encode() + b"\0",
    "Ed25519, its length in two bytes": b"\x30\x81" + ED25519.public.encode()[1:],
    "Ed25519, with parameters": bytes.fromhex("302c300706032b65700500032100") + ED25519.public.raw,
    "Ed25519, with 31 bytes": bytes.fromhex("3029300506032b6570032000") + bytes(31),
    "Ed25519, with bits left out": bytes.fromhex("302a300506032b6570032101") + bytes(32),
    "X448 with the head of X25519": bytes.fromhex("302a300506032b656e032100") + bytes(56),
    "Ed448": ed448.Ed448PrivateKey.generate()
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "P-256": ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "RSA": rsa.generate_private_key(65_537, 2048)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
}


@given(public_keys(*Kind))
def test_a_public_key_is_written_as_openssl_writes_it(key: PublicKey) -> None:
    der = key.encode()
    theirs = load_der_public_key(der)
    assert isinstance(theirs, ed25519.Ed25519PublicKey | x25519.X25519PublicKey | x448.X448PublicKey)
    assert type(theirs).__name__ == f"{key.kind.title}PublicKey"
    assert theirs.public_bytes_raw() == key.raw
    assert theirs.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == der
    assert PublicKey.decode(der, "a test") == PublicKey.decode(der, "a test", key.kind) == key


@pytest.mark.parametrize("name", STRANGE)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(MalformedBlock, match="a test: a key in it cannot be read"):
        PublicKey.decode(STRANGE[name], "a test", *Kind)


@given(public_keys(*Kind))
def test_a_kind_that_does_not_belong_there_is_refused(key: PublicKey) -> None:
    others = [kind for kind in Kind if kind is not key.kind]
    with pytest.raises(MalformedBlock, match="a test: a key in it is of a kind that does not belong there"):
        PublicKey.decode(key.encode(), "a test", *others)


@pytest.mark.parametrize("kind", Kind)
def test_a_key_has_its_size(kind: Kind) -> None:
    for size in (kind.size - 1, kind.size + 1):
        with pytest.raises(ValueError, match=f"has {kind.size} bytes, not {size}"):
            PublicKey(kind, bytes(size))
        with pytest.raises(ValueError, match="private key"):
            PrivateKey(kind, bytes(size))


@given(private_keys(Kind.ED25519), st.binary(max_size=99), st.data())
def test_a_signature_is_good_for_its_key_and_data_alone(key: PrivateKey, text: bytes, data: st.DataObject) -> None:
    signature = key.sign(text)
    assert len(signature) == SIGNATURE_SIZE
    assert key.public.has_signed(text, signature)
    assert not key.public.has_signed(text + b" ", signature)
    assert not ED25519.public.has_signed(text, signature) or key == ED25519
    changed = bytearray(signature)
    changed[data.draw(st.integers(0, 63))] ^= 1 << data.draw(st.integers(0, 7))
    assert not key.public.has_signed(text, bytes(changed))


@given(exactly(32), st.binary(max_size=9), st.binary(max_size=130))
def test_any_bytes_can_be_checked_as_a_signature(key: bytes, text: bytes, signature: bytes) -> None:
    # With a key of low order a signature can be good for many texts; that is the business of who chose the key.
    assert PublicKey(Kind.ED25519, key).has_signed(text, signature) in {True, False}
    assert verifies(ed448.Ed448PublicKey.from_public_bytes(key.ljust(57, b"\0")), text, signature) in {True, False}


@pytest.mark.parametrize("kind", Kind)
def test_a_private_key_does_not_show(kind: Kind) -> None:
    key = PrivateKey(kind, bytes(range(100, 100 + kind.size)))
    assert repr(key.raw)[2:10] not in repr(key)
    assert str(key.public.raw) in repr(key)
