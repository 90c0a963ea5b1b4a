"""The hellos that begin a connection, and who is at its other end (docs/smp.md, "Connection")."""

from __future__ import annotations

import hashlib
import hmac
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import SignatureAlgorithmOID

from onion_rdv.errors import MalformedBlock, MessagingCheckFailed, MessagingIdentityDiffers, MessagingVersionUnknown
from onion_rdv.protocol.short_link import KEY_HASH_SIZE
from onion_rdv.smp.wire.encoding import Reader, Versions, boolean, large, maybe, short
from onion_rdv.smp.wire.keys import Kind, PublicKey, verifies
from onion_rdv.smp.wire.versions import SERVICE_FIELD

if TYPE_CHECKING:
    from datetime import datetime

VERSIONS: Final = Versions(15, 18)
"""The versions of SMP that are spoken here."""

ALPN: Final = "smp/1"
"""What both sides say in TLS that they speak."""

CHANNEL_BINDING: Final = "tls-unique"
"""What the session id is taken from (RFC 5929, section 3): in TLS 1.3 the client's Finished."""

_SERVER_HELLO: Final = "the server's hello"
_CLIENT_HELLO: Final = "the client's hello"
_CHAIN_SIZES: Final = (2, 3, 4)
_SPKI_SIZE: Final = 44


@asn1.sequence
class _Wrapped:
    key: asn1.TLV


@asn1.sequence
class _Algorithm:
    name: x509.ObjectIdentifier


@asn1.sequence
class _Signed:
    wrapped: _Wrapped
    algorithm: asn1.TLV
    signature: asn1.BitString


def fingerprint(certificate: bytes) -> bytes:
    """Give the 32 bytes by which links name a server: SHA-256 of its CA certificate's DER."""
    return hashlib.sha256(certificate).digest()


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a server says first: its versions, the session, its certificates (leaf first), and a session key.

    ``signed_key`` is DER: an X25519 key, and the leaf's signature over it.
    """

    versions: Versions
    session_id: bytes
    certificates: tuple[bytes, ...]
    signed_key: bytes

    def encode(self) -> bytes:
        """Give its bytes."""
        chain = len(self.certificates).to_bytes(1, "big") + b"".join(map(large, self.certificates))
        return self.versions.encode() + short(self.session_id) + chain + large(self.signed_key)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read its bytes.

        Raises :class:`~onion_rdv.errors.MalformedBlock`, or :class:`~onion_rdv.errors.MessagingVersionUnknown`, which
        is looked at first, because the rest may then look otherwise.
        """
        reader = Reader(data, _SERVER_HELLO)
        versions = reader.versions()
        _common(versions)
        session_id = reader.short()
        certificates = tuple(reader.several(reader.large))
        signed_key = reader.large()
        if versions.greatest <= VERSIONS.greatest:  # a later one may have more to say
            reader.end()
        return cls(versions, session_id, certificates, signed_key)

    @property
    def version(self) -> int:
        """The version to speak: the greatest that both sides know."""
        return _common(self.versions)

    @property
    def identity(self) -> bytes:
        """The fingerprint of the certificate by which links name a server; empty where it shows none."""
        return fingerprint(self.certificates[1]) if len(self.certificates) in _CHAIN_SIZES else b""

    def check(self, *, key_hash: bytes, session_id: bytes, tls_certificate: bytes, now: datetime) -> PublicKey:
        """Check who says this, and give the server's session key.

        ``key_hash`` names the server (from the link), ``session_id`` and ``tls_certificate`` (DER) are what TLS has
        shown. Raises :class:`~onion_rdv.errors.MessagingIdentityDiffers` and other kinds of
        :class:`~onion_rdv.errors.MessagingCheckFailed`.
        """
        if len(self.certificates) not in _CHAIN_SIZES:
            raise MessagingCheckFailed(f"its hello has {len(self.certificates)} certificates, not 2, 3 or 4")
        if not hmac.compare_digest(self.identity, key_hash):
            raise MessagingIdentityDiffers("the fingerprint of its certificate is another one")
        leaf, issuer = (_Certificate.read(der) for der in self.certificates[:2])
        _check_issued(leaf, issuer, now)
        if not hmac.compare_digest(self.certificates[0], tls_certificate):
            raise MessagingIdentityDiffers("TLS was set up with another certificate than its hello shows")
        if not hmac.compare_digest(self.session_id, session_id):
            raise MessagingIdentityDiffers("its hello belongs to another connection (the channel binding differs)")
        return self._session_key(leaf.signer)

    def _session_key(self, signer: Ed25519PublicKey | Ed448PublicKey | None) -> PublicKey:
        try:
            signed = asn1.decode_der(_Signed, self.signed_key)
            covered, der = asn1.encode_der(signed.wrapped), asn1.encode_der(signed.wrapped.key)
        except ValueError:
            raise MalformedBlock(f"{_SERVER_HELLO}: its key cannot be read") from None
        if signer is None:
            raise MessagingCheckFailed("its certificate has a key of a kind that SMP does not use")
        if not verifies(signer, covered, signed.signature.as_bytes()):
            raise MessagingIdentityDiffers("the signature on its session key is wrong")
        return PublicKey.decode(der, _SERVER_HELLO, Kind.X25519)


def sign_session_key(key: PublicKey, leaf: Ed25519PrivateKey) -> bytes:
    """Give the signed key of a server's hello, for the key of the certificate that TLS shows."""
    wrapped = _Wrapped(key=asn1.decode_der(asn1.TLV, key.encode()))
    algorithm = asn1.decode_der(asn1.TLV, asn1.encode_der(_Algorithm(name=SignatureAlgorithmOID.ED25519)))
    signature = asn1.BitString(leaf.sign(asn1.encode_der(wrapped)), 0)
    return asn1.encode_der(_Signed(wrapped=wrapped, algorithm=algorithm, signature=signature))


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client answers: the version, the server that it means, and its X25519 key for the blocks' boxes.

    Without a key the blocks travel without boxes, inside TLS alone.
    """

    version: int
    key_hash: bytes
    session_key: PublicKey | None

    def encode(self) -> bytes:
        """Give its bytes."""
        return b"".join(
            (
                self.version.to_bytes(2, "big"),
                short(self.key_hash),
                b"" if self.session_key is None else short(self.session_key.encode()),
                boolean(False),  # it is no proxy
                maybe(None) if self.version >= SERVICE_FIELD else b"",  # nor a service
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read its bytes; raises :class:`~onion_rdv.errors.MalformedBlock`, also for a version not known here."""
        reader = Reader(data, _CLIENT_HELLO)
        version = reader.u16()
        if not VERSIONS.least <= version <= VERSIONS.greatest:
            raise reader.fault(f"it chose version {version}")
        key_hash = reader.short(KEY_HASH_SIZE)
        session_key = None
        if reader.peek() == bytes([_SPKI_SIZE]):  # a flag follows where there is no key, and is a letter
            session_key = PublicKey.decode(reader.short(), _CLIENT_HELLO, Kind.X25519)
        reader.boolean()
        if version >= SERVICE_FIELD:
            reader.expect(maybe(None))
        reader.end()
        return cls(version, key_hash, session_key)


def _common(versions: Versions) -> int:
    version = VERSIONS.common(versions)
    if version is None:
        raise MessagingVersionUnknown(
            f"it speaks {versions.least} to {versions.greatest}, and here {VERSIONS.least} to {VERSIONS.greatest}"
            " are known"
        )
    return version


class _Certificate(NamedTuple):
    """A certificate, with all of it that is looked at here: the library reads most only when it is asked for."""

    parsed: x509.Certificate
    since: datetime
    until: datetime
    signer: Ed25519PublicKey | Ed448PublicKey | None
    """Its key; None where it is of another kind, or of none."""

    @classmethod
    def read(cls, der: bytes) -> Self:
        """Read it; raises :class:`~onion_rdv.errors.MalformedBlock`."""
        try:
            with warnings.catch_warnings():  # what the library still reads, but only for a while, is refused already
                warnings.simplefilter("error", CryptographyDeprecationWarning)
                parsed = x509.load_der_x509_certificate(der)
                try:
                    key = parsed.public_key()
                except (ValueError, UnsupportedAlgorithm):
                    key = None
                signer = key if isinstance(key, Ed25519PublicKey | Ed448PublicKey) else None
                return cls(parsed, parsed.not_valid_before_utc, parsed.not_valid_after_utc, signer)
        except (ValueError, OverflowError, InternalError, x509.InvalidVersion, CryptographyDeprecationWarning):
            raise MalformedBlock(f"{_SERVER_HELLO}: a certificate in it cannot be read") from None


def _check_issued(leaf: _Certificate, issuer: _Certificate, now: datetime) -> None:
    try:
        leaf.parsed.verify_directly_issued_by(issuer.parsed)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        raise MessagingIdentityDiffers("its certificate was not issued by the one that the link names") from None
    for certificate in (leaf, issuer):
        if not certificate.since <= now <= certificate.until:
            raise MessagingCheckFailed(
                "its certificate is not valid at this time",
                hint="look whether this machine's clock is right; if it is, tell the server's operator",
            )
