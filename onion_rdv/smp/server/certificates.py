"""Who the server is: a certificate authority of its own that never changes, and a leaf that is renewed.

Links name the server by the SHA-256 of the authority's certificate. Two files of mode 0600 keep it all:

* ``identity.pem``: the authority's Ed25519 key and its certificate. It is made at the first start and never written
  again; who has a copy can run the same server.
* ``leaf.pem``: the leaf's key, its certificate and the authority's, as TLS wants them. It is made anew whenever it
  is missing, damaged, of another authority or near its end.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from onion_rdv.errors import IdentityUnusable, SettingsError
from onion_rdv.smp.wire.hello import ALPN, fingerprint, sign_session_key
from onion_rdv.tor.onion_service import disk, private_file

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.smp.wire.keys import PublicKey

IDENTITY_FILE = "identity.pem"
LEAF_FILE = "leaf.pem"

_NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, section 4.1.2.5
_BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)  # the same for every server: none tells when it was set up
_LEAF_LIFETIME: Final = timedelta(days=365)
_LEAF_RENEWAL: Final = timedelta(days=30)
_CLOCK_SKEW: Final = timedelta(days=2)

_NOT_OURS: Final = (ValueError, TypeError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion)
"""What reading a file can raise that is damaged, sealed with a password, or with keys of a kind that is not known."""

_HINT: Final = "look at its directory's permissions"


@dataclass(frozen=True, slots=True)
class Identity:
    """The authority: its key, and its certificate in DER."""

    key: Ed25519PrivateKey = field(repr=False)
    certificate: bytes

    @property
    def fingerprint(self) -> bytes:
        """The 32 bytes that links name the server by."""
        return fingerprint(self.certificate)


class Leaf:
    """The certificate that is shown to clients, with what is made of it for connections."""

    def __init__(self, path: Path, key: Ed25519PrivateKey, certificate: x509.Certificate, issuer: bytes) -> None:
        self._key = key
        self.renew_at = certificate.not_valid_after_utc - _LEAF_RENEWAL
        self._good_from = certificate.not_valid_before_utc
        self.certificates = (certificate.public_bytes(Encoding.DER), issuer)
        self.context = _tls(path)

    def is_good(self, now: datetime) -> bool:
        """Tell whether it can be shown, and for a while yet."""
        return self._good_from <= now < self.renew_at

    def sign(self, session_key: PublicKey) -> bytes:
        """Give a session key with the leaf's signature, as it stands in a hello."""
        return sign_session_key(session_key, self._key)


def load_identity(directory: Path) -> Identity:
    """Read the server's identity, or make one that is safely on the disk before this returns. Blocks.

    Raises :class:`~onion_rdv.errors.IdentityUnusable` when it is damaged or its file cannot be used, and
    :class:`~onion_rdv.errors.StoreError` for a disk that is full or fails.
    """
    path = directory / IDENTITY_FILE
    try:
        try:
            return _read_identity(path)
        except FileNotFoundError:
            with suppress(FileExistsError):  # another process was faster
                private_file.create(path, _new_identity())
            return _read_identity(path)
    except OSError as error:
        raise disk.fault(error, path) or IdentityUnusable(f"{path}: {error.strerror}", hint=_HINT) from error


def load_leaf(directory: Path, identity: Identity, now: datetime) -> Leaf:
    """Read the leaf, or make a new one where there is none that is good for a while yet. Blocks.

    Raises :class:`~onion_rdv.errors.SettingsError` when the file cannot be used, and
    :class:`~onion_rdv.errors.StoreError` as :func:`load_identity` does.
    """
    path = directory / LEAF_FILE
    try:
        leaf = _read_leaf(path, identity)
        if leaf is None or not leaf.is_good(now):
            private_file.replace(path, _new_leaf(identity, now))
            leaf = _read_leaf(path, identity)
    except OSError as error:
        raise disk.fault(error, path) or SettingsError(f"{path}: {error.strerror}", hint=_HINT) from error
    if leaf is None:
        raise SettingsError(f"{path} changes while it is being written", hint="stop the other server there")
    return leaf


def _read_identity(path: Path) -> Identity:
    content = private_file.load(path, IdentityUnusable)
    try:
        key = load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificate(content)
        certificate.verify_directly_issued_by(certificate)  # any other byte makes another fingerprint
        fits = certificate.public_key() == key.public_key()
    except (*_NOT_OURS, InvalidSignature):
        fits = False
    if not fits or not isinstance(key, Ed25519PrivateKey):
        raise IdentityUnusable(f"{path} is damaged, or of another kind")
    return Identity(key, certificate.public_bytes(Encoding.DER))


def _new_identity() -> bytes:
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    name = _name("SMP server CA")
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=_BEGIN,
        not_valid_after=_NO_END,
    )
    builder = builder.add_extension(key_id, critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return _pem(key) + builder.sign(key, None).public_bytes(Encoding.PEM)


def _read_leaf(path: Path, identity: Identity) -> Leaf | None:
    """Give the leaf; None where there is none that belongs to this authority."""
    issuer = x509.load_der_x509_certificate(identity.certificate)
    try:
        content = private_file.load(path, SettingsError)
    except FileNotFoundError:
        return None
    try:
        key = load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificate(content)
        certificate.verify_directly_issued_by(issuer)
        if not isinstance(key, Ed25519PrivateKey) or certificate.public_key() != key.public_key():
            return None
        return Leaf(path, key, certificate, identity.certificate)
    except (*_NOT_OURS, InvalidSignature, ssl.SSLError):
        return None


def _new_leaf(identity: Identity, now: datetime) -> bytes:
    key = Ed25519PrivateKey.generate()
    issuer = x509.load_der_x509_certificate(identity.certificate)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    builder = x509.CertificateBuilder(
        issuer_name=issuer.subject,
        subject_name=_name("SMP server"),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=day - _CLOCK_SKEW,
        not_valid_after=day + _LEAF_LIFETIME,
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
    builder = builder.add_extension(usage, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(identity.key.public_key()), critical=False
    )
    certificate = builder.sign(identity.key, None)
    return _pem(key) + certificate.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM)


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(title: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])


def _tls(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # the session's id is bound to it
    context.num_tickets = 0  # nobody comes back to a session
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(path)
    return context
