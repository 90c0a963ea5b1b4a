"""Hellos: who a server is, and every way not to be it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from certificates import YEAR, Identity, issue
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smp_strategies import exactly, public_keys
from smp_transcript import CONNECTIONS, KEY_HASH, THEN

from fuzz.messaging import certificate
from onion_rdv.errors import (
    MalformedBlock,
    MessagingCheckFailed,
    MessagingIdentityDiffers,
    MessagingVersionUnknown,
)
from onion_rdv.smp.wire.encoding import Versions
from onion_rdv.smp.wire.hello import VERSIONS, ClientHello, ServerHello, fingerprint, sign_session_key
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime.now(UTC)
SESSION_ID = bytes(range(32))
SESSION_KEY = PrivateKey(Kind.X25519, bytes(range(32))).public
RSA = generate_private_key(65_537, 2048)

CA = issue("CA")
LEAF = issue("leaf", CA)
CA_HASH = fingerprint(CA.der)


def signed(key: PublicKey, leaf: Identity) -> bytes:
    assert isinstance(leaf.key, Ed25519PrivateKey)
    return sign_session_key(key, leaf.key)


def hello(*chain: Identity, signed_key: bytes | None = None, versions: Versions = VERSIONS) -> ServerHello:
    certificates = chain or (LEAF, CA)
    key = signed(SESSION_KEY, LEAF) if signed_key is None else signed_key
    return ServerHello(versions, SESSION_ID, tuple(one.der for one in certificates), key)


def check(said: ServerHello, **other: Any) -> PublicKey:
    decoded = ServerHello.decode(said.encode())
    assert decoded == said
    shown: dict[str, Any] = {
        "key_hash": CA_HASH,
        "session_id": SESSION_ID,
        "tls_certificate": LEAF.der,
        "now": NOW,
    }
    return decoded.check(**{**shown, **other})


@pytest.mark.parametrize("more", [[], ["operator"], ["network", "operator"]], ids=["2", "3", "4"])
def test_chains_of_2_3_and_4_certificates_show_the_identity_in_the_second(more: list[str]) -> None:
    above: Identity | None = None
    chain: list[Identity] = []
    for name in reversed(more):
        above = issue(name, above)
        chain.insert(0, above)
    ca = issue("CA", above)
    leaf = issue("leaf", ca)
    said = hello(leaf, ca, *chain, signed_key=signed(SESSION_KEY, leaf))
    key = check(said, key_hash=fingerprint(ca.der), tls_certificate=leaf.der)
    assert key == SESSION_KEY
    with pytest.raises(MessagingIdentityDiffers, match="fingerprint"):
        check(said, key_hash=fingerprint(leaf.der), tls_certificate=leaf.der)


def test_a_leaf_with_an_ed448_key_is_good_too() -> None:
    key = Ed448PrivateKey.generate()
    leaf = issue("leaf", CA, key=key)
    # The same structure, with the other kind of signature in it: 114 bytes where 64 were.
    covered = bytes.fromhex("302c") + SESSION_KEY.encode()
    body = covered + bytes.fromhex("300506032b6571") + bytes.fromhex("037300") + key.sign(covered)
    said = hello(leaf, CA, signed_key=b"\x30\x81" + bytes([len(body)]) + body)
    assert check(said, tls_certificate=leaf.der) == SESSION_KEY
    with pytest.raises(MessagingIdentityDiffers, match="the signature on its session key is wrong"):
        check(hello(leaf, CA), tls_certificate=leaf.der)


def test_a_signed_key_is_made_as_simplexmq_makes_it() -> None:
    connection = CONNECTIONS["v18.rcpt"]
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    recorded = connection.server_hello.signed_key
    ours = sign_session_key(connection.server_key, key)
    assert ours[:-64] == recorded[:-64]
    assert len(ours) == len(recorded)


OTHER = issue("CA")
RENAMED = issue("leaf", issue("another CA", key=CA.key))
RSA_LEAF = issue("leaf", CA, key=RSA)
RSA_CA = issue("CA", key=RSA)
SELF_SIGNED = issue("leaf")
STRANGERS = issue("leaf", OTHER)
OLD = issue("leaf", CA, since=-2 * YEAR, until=-YEAR)
EARLY = issue("leaf", CA, since=YEAR / 365, until=YEAR)
OLD_CA = issue("CA", since=-2 * YEAR, until=-YEAR)
OF_OLD_CA = issue("leaf", OLD_CA)


def reissued(body: bytes, by: Identity) -> bytes:
    """Give the DER of a certificate with another body."""
    assert isinstance(by.key, Ed25519PrivateKey)
    return certificate(body, by.key.sign(body))


def shown(leaf: Identity, *chain: Identity, **other: Any) -> tuple[ServerHello, dict[str, Any]]:
    """Give a hello that is right in all but its certificates."""
    key = signed(SESSION_KEY, leaf) if isinstance(leaf.key, Ed25519PrivateKey) else None
    said = hello(leaf, *chain, signed_key=key)
    names = {"key_hash": fingerprint((chain or (leaf,))[0].der), "tls_certificate": leaf.der}
    return said, {**names, **other}


WRONG: dict[str, tuple[ServerHello, dict[str, Any], type[Exception], str]] = {
    "no certificate": (ServerHello(VERSIONS, SESSION_ID, (), b""), {}, MessagingCheckFailed, "has 0 certificates"),
    "1 certificate": (*shown(CA), MessagingCheckFailed, "has 1 certificates, not 2, 3 or 4"),
    "5 certificates": (*shown(LEAF, CA, CA, CA, CA), MessagingCheckFailed, "has 5 certificates, not 2, 3 or 4"),
    "another server": (
        *shown(STRANGERS, OTHER, key_hash=fingerprint(CA.der)),
        MessagingIdentityDiffers,
        "fingerprint",
    ),
    "an empty fingerprint": (hello(), {"key_hash": b""}, MessagingIdentityDiffers, "fingerprint"),
    "a leaf that signed itself": (*shown(SELF_SIGNED, CA), MessagingIdentityDiffers, "not issued by"),
    "another CA of the same name": (*shown(STRANGERS, CA), MessagingIdentityDiffers, "not issued by"),
    "another name": (
        *shown(issue("leaf", issue("other", key=CA.key)), CA),
        MessagingIdentityDiffers,
        "not issued by",
    ),
    "a CA with another kind of key": (*shown(LEAF, RSA_CA), MessagingIdentityDiffers, "not issued by"),
    "the chain upside down": (*shown(CA, LEAF), MessagingIdentityDiffers, "not issued by"),
    "an expired leaf": (*shown(OLD, CA), MessagingCheckFailed, "not valid at this time"),
    "a leaf from tomorrow": (*shown(EARLY, CA), MessagingCheckFailed, "not valid at this time"),
    "an expired CA": (*shown(OF_OLD_CA, OLD_CA), MessagingCheckFailed, "not valid at this time"),
    "another leaf than TLS has shown": (
        hello(),
        {"tls_certificate": issue("leaf", CA).der},
        MessagingIdentityDiffers,
        "TLS was set up with another certificate",
    ),
    "another session": (hello(), {"session_id": SESSION_ID[::-1]}, MessagingIdentityDiffers, "channel binding"),
    "no session": (hello(), {"session_id": b""}, MessagingIdentityDiffers, "channel binding"),
    "a leaf with an RSA key": (*shown(RSA_LEAF, CA), MessagingCheckFailed, "a key of a kind that SMP does not use"),
    "a key signed by another": (
        hello(signed_key=signed(SESSION_KEY, CA)),
        {},
        MessagingIdentityDiffers,
        "the signature on its session key is wrong",
    ),
    "an Ed25519 session key": (
        hello(signed_key=signed(PrivateKey(Kind.ED25519, bytes(32)).public, LEAF)),
        {},
        MalformedBlock,
        "of a kind that does not belong there",
    ),
    "no signed key": (hello(signed_key=b""), {}, MalformedBlock, "its key cannot be read"),
    "a signed key cut short": (
        hello(signed_key=signed(SESSION_KEY, LEAF)[:-1]),
        {},
        MalformedBlock,
        "its key cannot be read",
    ),
    "a signed key with more behind it": (
        hello(signed_key=signed(SESSION_KEY, LEAF) + b"\0"),
        {},
        MalformedBlock,
        "its key cannot be read",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_server_that_is_not_the_one_is_refused(name: str) -> None:
    said, other, error, reason = WRONG[name]
    with pytest.raises(MessagingCheckFailed, match=reason) as caught:
        check(said, **other)
    assert type(caught.value) is error
    if "not valid" in reason:
        assert "clock" in caught.value.hint


def test_what_is_no_certificate_is_refused() -> None:
    for leaf in (b"", b"certificate", LEAF.der[:-1], LEAF.der + b"\0"):
        said = ServerHello(VERSIONS, SESSION_ID, (leaf, CA.der), signed(SESSION_KEY, LEAF))
        with pytest.raises(MalformedBlock, match="a certificate in it cannot be read"):
            check(said, tls_certificate=leaf)
    said = ServerHello(VERSIONS, SESSION_ID, (LEAF.der, b"CA"), signed(SESSION_KEY, LEAF))
    with pytest.raises(MalformedBlock, match="a certificate in it cannot be read"):
        check(said, key_hash=fingerprint(b"CA"))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),  # a version that X.509 does not have
        (b"\x02\x01\x05\x30", b"\x02\x01\x00\x30"),  # a serial number that is not positive
    ],
    ids=["version", "serial"],
)
def test_certificates_that_the_library_reads_in_its_own_way_are_refused(good: bytes, bad: bytes) -> None:
    subject = CA.certificate.subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(LEAF.key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
        .sign(LEAF.key, None)
    )
    der = Identity(certificate, LEAF.key).der
    assert der.count(good) == 1
    leaf = der.replace(good, bad)
    said = ServerHello(VERSIONS, SESSION_ID, (leaf, CA.der), signed(SESSION_KEY, LEAF))
    with pytest.raises(MalformedBlock, match="a certificate in it cannot be read"):
        check(said, tls_certificate=leaf)


@pytest.mark.parametrize("oid", ["2b657f", "2b6571"], ids=["unknown", "ed448, with too few bytes"])
def test_a_leaf_whose_key_cannot_be_read_is_refused(oid: str) -> None:
    key = LEAF.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    strange = key.replace(bytes.fromhex("2b6570"), bytes.fromhex(oid))
    leaf = reissued(LEAF.certificate.tbs_certificate_bytes.replace(key, strange), CA)
    said = ServerHello(VERSIONS, SESSION_ID, (leaf, CA.der), signed(SESSION_KEY, LEAF))
    with pytest.raises(MessagingCheckFailed, match="a key of a kind that SMP does not use"):
        check(said, tls_certificate=leaf)


# What the library reads only when it is asked for it

FAR_CA = issue("CA", until=40 * YEAR)
FAR_LEAF = issue("leaf", FAR_CA, until=40 * YEAR)
FAR_BODY = FAR_LEAF.certificate.tbs_certificate_bytes
FAR_AWAY = FAR_CA.certificate.not_valid_after_utc.strftime("%Y%m%d%H%M%SZ").encode()
"""How a time after 2049 stands in a certificate: with four digits for its year."""


def check_far(leaf: bytes, ca: bytes) -> PublicKey:
    said = ServerHello(VERSIONS, SESSION_ID, (leaf, ca), signed(SESSION_KEY, FAR_LEAF))
    return check(said, key_hash=fingerprint(ca), tls_certificate=leaf)


def test_a_year_that_there_is_not_is_refused() -> None:
    assert (FAR_CA.der.count(FAR_AWAY), FAR_BODY.count(FAR_AWAY)) == (1, 1)
    never = b"0000" + FAR_AWAY[4:]
    assert check_far(FAR_LEAF.der, FAR_CA.der) == SESSION_KEY
    for leaf, ca in (
        (FAR_LEAF.der, FAR_CA.der.replace(FAR_AWAY, never)),
        (reissued(FAR_BODY.replace(FAR_AWAY, never), FAR_CA), FAR_CA.der),
    ):
        with pytest.raises(MalformedBlock, match="a certificate in it cannot be read"):
            check_far(leaf, ca)


TIMES = st.builds(
    lambda *parts: b"%04d%02d%02d%02d%02d%02dZ" % parts,
    st.sampled_from((0, 1, 9999)) | st.integers(0, 9999),
    *(st.just(1) | st.integers(0, most) for most in (13, 32, 24, 60, 60)),
)


@st.composite
def altered(draw: st.DrawFn, data: bytes) -> bytes:
    """Give DER that differs in some bytes, or in a time."""
    data = data.replace(FAR_AWAY, draw(st.just(FAR_AWAY) | TIMES))
    for place, more in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.binary(max_size=4)), max_size=3)):
        data = data[:place] + more + data[place + draw(st.sampled_from((len(more), 0, 1))) :]
    return data


@settings(max_examples=500, deadline=None)
@given(altered(FAR_BODY), altered(FAR_CA.der))
@example(FAR_BODY, FAR_CA.der)
def test_any_certificates_are_good_or_refused(body: bytes, ca: bytes) -> None:
    """Whatever is in them: their maker has signed it, and made the link that names them."""
    with suppress(MessagingCheckFailed):
        assert check_far(reissued(body, FAR_CA), ca) == SESSION_KEY


def test_the_time_is_the_callers() -> None:
    connection = CONNECTIONS["v15"]
    recorded = connection.server_hello
    leaf = x509.load_der_x509_certificate(recorded.certificates[0])
    shown = {"key_hash": KEY_HASH, "session_id": connection.session_id, "tls_certificate": recorded.certificates[0]}
    for then in (THEN, leaf.not_valid_before_utc, leaf.not_valid_after_utc):
        assert recorded.check(**shown, now=then) == connection.server_key
    for then in (
        leaf.not_valid_before_utc - timedelta(seconds=1),
        leaf.not_valid_after_utc + timedelta(seconds=1),
    ):
        with pytest.raises(MessagingCheckFailed, match="not valid at this time"):
            recorded.check(**shown, now=then)


@pytest.mark.parametrize(
    ("least", "greatest", "spoken"), [(15, 18, 18), (6, 18, 18), (6, 15, 15), (16, 17, 17), (18, 30, 18), (1, 99, 18)]
)
def test_the_greatest_common_version_is_spoken(least: int, greatest: int, spoken: int) -> None:
    assert ServerHello.decode(hello(versions=Versions(least, greatest)).encode()).version == spoken


@pytest.mark.parametrize(("least", "greatest"), [(6, 14), (19, 20), (0, 0), (65_535, 65_535)])
def test_a_server_without_a_common_version_is_named_before_anything_else(least: int, greatest: int) -> None:
    for rest in (b"", b"what a later version says"):
        with pytest.raises(MessagingVersionUnknown, match=f"it speaks {least} to {greatest}, and here 15 to 18"):
            ServerHello.decode(Versions(least, greatest).encode() + rest)
    with pytest.raises(MessagingVersionUnknown):
        _ = hello(versions=Versions(least, greatest)).version


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\0\x12\0\x0f", "upside down"),
        (Versions(15, 18).encode(), "cut short"),
        (hello().encode()[:-1], "cut short"),
        (hello().encode() + b"\0", "more than belongs there"),
    ],
)
def test_a_server_hello_of_another_shape_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedBlock, match=f"the server's hello: .*{reason}"):
        ServerHello.decode(data)


def test_a_later_version_may_have_more_to_say() -> None:
    said = hello(versions=Versions(15, 19))
    assert ServerHello.decode(said.encode() + b"more") == said


@given(
    st.integers(15, 18),
    exactly(32),
    st.none() | public_keys(Kind.X25519),
)
def test_a_clients_hello_is_read(version: int, key_hash: bytes, key: PublicKey | None) -> None:
    said = ClientHello(version, key_hash, key)
    assert ClientHello.decode(said.encode()) == said
    assert replace(said, version=18).encode()[2:].startswith(said.encode()[2:])


def cut(data: bytes, *ends: int) -> Sequence[bytes]:
    return [data[:end] for end in ends]


CLIENT = ClientHello(18, SESSION_ID, SESSION_KEY).encode()

WRONG_CLIENTS = [
    *((part, "cut short") for part in cut(CLIENT, 0, 1, 2, 34, 35, 40, 79, 81)),
    (b"\0\x0e" + CLIENT[2:], "it chose version 14"),
    (b"\0\x13" + CLIENT[2:], "it chose version 19"),
    (b"\0\x12\x1f" + CLIENT[3:], "a part of it has 31 bytes"),
    (CLIENT.replace(b"\x65\x6e", b"\x65\x70"), "of a kind that does not belong there"),
    (CLIENT[:-2] + b"X0", "neither T nor F"),
    (CLIENT[:-1] + b"1", "something stands where something else belongs"),  # a service
    (CLIENT + b"0", "more than belongs there"),
    (ClientHello(15, SESSION_ID, SESSION_KEY).encode() + b"0", "more than belongs there"),
    (ClientHello(17, SESSION_ID, None).encode()[:-1], "cut short"),
]


@pytest.mark.parametrize(("data", "reason"), WRONG_CLIENTS)
def test_a_client_hello_of_another_shape_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedBlock, match=f"the client's hello: .*{reason}"):
        ClientHello.decode(data)
