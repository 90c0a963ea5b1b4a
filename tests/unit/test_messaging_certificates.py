"""Who the messaging server is: made once, kept privately, shown in TLS and in the hello."""

from __future__ import annotations

import base64
import os
import re
import shutil
import ssl
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from file_limits import no_file_larger_than

from onion_rdv.errors import IdentityUnusable, SettingsError, StoreError
from onion_rdv.smp.server.certificates import IDENTITY_FILE, LEAF_FILE, load_identity, load_leaf
from onion_rdv.smp.wire.hello import VERSIONS, ServerHello, fingerprint
from onion_rdv.smp.wire.keys import Kind, PrivateKey

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2030, 5, 17, 12, 34, tzinfo=UTC)
ANOTHER_VERSION = (bytes.fromhex("a003020102"), bytes.fromhex("a003020103"))
"""The version in a certificate (RFC 5280, section 4.1), and one that there is not."""
ANOTHER_KIND_OF_KEY = (bytes.fromhex("020100300506032b6570"), bytes.fromhex("020100300506032b656f"))
"""The beginning of a private key (RFC 8410, section 7), and that of an X448 key."""
SESSION_KEY = PrivateKey(Kind.X25519, bytes(range(32)))


def damaged(pem: bytes, right: bytes, wrong: bytes) -> bytes:
    """Give a file with other bytes where these are first in one of its blocks."""
    blocks = re.findall(rb"(-----BEGIN [^\n]*\n)(.*?)(-----END [^\n]*\n)", pem, re.DOTALL)
    contents = [base64.b64decode(content) for _, content, _ in blocks]
    hit = next(number for number, content in enumerate(contents) if right in content)
    contents[hit] = contents[hit].replace(right, wrong, 1)
    return b"".join(
        begin + base64.encodebytes(content) + end for (begin, _, end), content in zip(blocks, contents, strict=True)
    )


def test_made_once_and_closed_to_others(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        identity = load_identity(tmp_path)
        leaf = load_leaf(tmp_path, identity, NOW)
    finally:
        os.umask(umask)
    files = {file.name: (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) for file in tmp_path.iterdir()}
    assert {name: mode for name, (mode, _) in files.items()} == {IDENTITY_FILE: 0o600, LEAF_FILE: 0o600}
    again = load_identity(tmp_path)
    assert again.certificate == identity.certificate
    assert again.fingerprint == fingerprint(identity.certificate)
    assert load_leaf(tmp_path, again, NOW).certificates == leaf.certificates
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        name: content for name, (_, content) in files.items()
    }
    assert "key" not in repr(identity)


def test_on_the_disk_and_closed_before_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def watched_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        names = {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")}
        synced.append((stat.S_ISREG(status.st_mode), names))
        assert stat.S_ISDIR(status.st_mode) or stat.S_IMODE(status.st_mode) == 0o600
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    load_leaf(tmp_path, load_identity(tmp_path), NOW)
    assert synced == [
        (True, set()),
        (False, {IDENTITY_FILE}),
        (True, {IDENTITY_FILE}),
        (False, {IDENTITY_FILE, LEAF_FILE}),
    ]


def test_clients_accept_what_the_hello_shows(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    leaf = load_leaf(tmp_path, identity, NOW)
    hello = ServerHello(VERSIONS, bytes(32), leaf.certificates, leaf.sign(SESSION_KEY.public))
    for now in (NOW, NOW + timedelta(days=200)):
        key = ServerHello.decode(hello.encode()).check(
            key_hash=identity.fingerprint, session_id=bytes(32), tls_certificate=leaf.certificates[0], now=now
        )
        assert key == SESSION_KEY.public


def test_tls_finds_nothing_wrong_with_the_chain(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    leaf = load_leaf(tmp_path, identity, datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it has none: links name the server by its fingerprint
    context.load_verify_locations(cadata=identity.certificate)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = leaf.context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.getpeercert(binary_form=True) == leaf.certificates[0]
    assert client.get_channel_binding("tls-unique") == server.get_channel_binding("tls-unique") != b""


def test_the_identity_tells_nothing_of_when_and_where_it_was_made(tmp_path: Path) -> None:
    certificates = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        certificates.append(x509.load_der_x509_certificate(load_identity(tmp_path / name).certificate))
    one, other = certificates
    assert (one.subject, one.issuer) == (other.subject, other.issuer)
    assert one.not_valid_before_utc == other.not_valid_before_utc
    assert one.not_valid_after_utc == other.not_valid_after_utc
    assert one.public_key() != other.public_key()


def test_only_tls_1_3_is_spoken(tmp_path: Path) -> None:
    context = load_leaf(tmp_path, load_identity(tmp_path), NOW).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0


# The leaf is renewed


@pytest.mark.parametrize("days", [336, 360, 400, 4000, -4, -400])
def test_a_leaf_is_renewed_before_its_end_or_when_the_clock_was_wrong(tmp_path: Path, days: int) -> None:
    identity = load_identity(tmp_path)
    old = load_leaf(tmp_path, identity, NOW)
    now = NOW + timedelta(days=days)
    new = load_leaf(tmp_path, identity, now)
    assert new.certificates[0] != old.certificates[0]
    assert new.certificates[1] == old.certificates[1]
    assert new.renew_at > now + timedelta(days=300)
    assert stat.S_IMODE((tmp_path / LEAF_FILE).stat().st_mode) == 0o600


def test_a_leaf_stays_while_it_is_good(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    old = load_leaf(tmp_path, identity, NOW)
    for days in (1, 100, 330):
        assert load_leaf(tmp_path, identity, NOW + timedelta(days=days)).certificates == old.certificates


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_leaf_is_made_anew(tmp_path: Path, content: bytes) -> None:
    identity = load_identity(tmp_path)
    load_leaf(tmp_path, identity, NOW)
    (tmp_path / LEAF_FILE).write_bytes(content)
    leaf = load_leaf(tmp_path, identity, NOW)
    assert x509.load_der_x509_certificate(leaf.certificates[0]).issuer.rfc4514_string() == "CN=SMP server CA"


@pytest.mark.parametrize("flipped", [ANOTHER_VERSION, ANOTHER_KIND_OF_KEY])
def test_a_leaf_with_one_flipped_byte_is_made_anew(tmp_path: Path, flipped: tuple[bytes, bytes]) -> None:
    identity = load_identity(tmp_path)
    old = load_leaf(tmp_path, identity, NOW)
    path = tmp_path / LEAF_FILE
    path.write_bytes(damaged(path.read_bytes(), *flipped))
    assert load_leaf(tmp_path, identity, NOW).certificates[0] != old.certificates[0]


def test_the_leaf_of_another_identity_is_made_anew(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        load_leaf(tmp_path / name, load_identity(tmp_path / name), NOW)
    shutil.copy(tmp_path / "other" / LEAF_FILE, tmp_path / "one" / LEAF_FILE)
    identity = load_identity(tmp_path / "one")
    leaf = load_leaf(tmp_path / "one", identity, NOW)
    assert leaf.certificates[1] == identity.certificate
    assert leaf.certificates[0] not in (tmp_path / "other" / LEAF_FILE).read_bytes()


def test_a_leaf_with_another_key_is_made_anew(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    old = load_leaf(tmp_path, identity, NOW)
    certificates = (tmp_path / LEAF_FILE).read_bytes().partition(b"-----BEGIN CERTIFICATE")[1:]
    key = (tmp_path / IDENTITY_FILE).read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    (tmp_path / LEAF_FILE).write_bytes(key + b"".join(certificates))
    assert load_leaf(tmp_path, identity, NOW).certificates[0] != old.certificates[0]


# The identity is not


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_damaged_identity_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / IDENTITY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityUnusable, match="damaged") as caught:
        load_identity(tmp_path)
    assert "backup" in caught.value.hint
    assert path.read_bytes() == content


@pytest.mark.parametrize("flipped", [ANOTHER_VERSION, ANOTHER_KIND_OF_KEY, (b"99991231", b"99991230")])
def test_an_identity_with_one_flipped_byte_is_left_as_it_is(tmp_path: Path, flipped: tuple[bytes, bytes]) -> None:
    load_identity(tmp_path)
    path = tmp_path / IDENTITY_FILE
    content = damaged(path.read_bytes(), *flipped)
    path.write_bytes(content)
    with pytest.raises(IdentityUnusable, match="damaged"):
        load_identity(tmp_path)
    assert path.read_bytes() == content


def test_an_identity_under_a_password_is_left_as_it_is(tmp_path: Path) -> None:
    load_identity(tmp_path)
    path = tmp_path / IDENTITY_FILE
    key = load_pem_private_key(path.read_bytes(), None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    content = sealed + b"".join(path.read_bytes().partition(b"-----BEGIN CERTIFICATE")[1:])
    path.write_bytes(content)
    with pytest.raises(IdentityUnusable, match="damaged, or of another kind"):
        load_identity(tmp_path)
    assert path.read_bytes() == content


def test_an_identity_whose_halves_do_not_fit_is_refused(tmp_path: Path) -> None:
    halves = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        load_identity(tmp_path / name)
        halves.append((tmp_path / name / IDENTITY_FILE).read_bytes().partition(b"-----BEGIN CERTIFICATE"))
    (tmp_path / "one" / IDENTITY_FILE).write_bytes(halves[0][0] + halves[1][1] + halves[1][2])
    with pytest.raises(IdentityUnusable, match="damaged"):
        load_identity(tmp_path / "one")


def test_open_to_others(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    load_leaf(tmp_path, identity, NOW)
    for name, kind in ((IDENTITY_FILE, IdentityUnusable), (LEAF_FILE, SettingsError)):
        (tmp_path / name).chmod(0o640)
        with pytest.raises(kind, match="open to other users"):
            load_leaf(tmp_path, load_identity(tmp_path), NOW)
        (tmp_path / name).chmod(0o600)


def test_where_there_is_no_room(tmp_path: Path) -> None:
    with no_file_larger_than(0), pytest.raises(StoreError, match=IDENTITY_FILE):
        load_identity(tmp_path)
    identity = load_identity(tmp_path)
    with no_file_larger_than(0), pytest.raises(StoreError, match=LEAF_FILE):
        load_leaf(tmp_path, identity, NOW)
    assert [file.name for file in tmp_path.iterdir()] == [IDENTITY_FILE]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(IdentityUnusable, match="No such file"):
        load_identity(tmp_path / "missing")
    identity = load_identity(tmp_path)
    with pytest.raises(SettingsError, match="No such file"):
        load_leaf(tmp_path / "missing", identity, NOW)
    (tmp_path / "place" / LEAF_FILE).mkdir(parents=True)
    with pytest.raises(SettingsError, match="no plain file"):
        load_leaf(tmp_path / "place", identity, NOW)
    assert [file.name for file in (tmp_path / "place").iterdir()] == [LEAF_FILE]
