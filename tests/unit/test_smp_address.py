"""Addresses of messaging servers: read, and written in one form."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smp_strategies import exactly

from onion_rdv.errors import UsageError
from onion_rdv.smp.wire.address import SmpServer

FINGERPRINT = "hsCJ5Jyo2GCuJjExyP82U_NNmfMmg3RpZ6Wz-ZagWdk"
KEY_HASH = base64.urlsafe_b64decode(FINGERPRINT + "=")
ONION = "a" * 56 + ".onion"

HOSTS = st.sampled_from(["smp.example", "127.0.0.1", ONION, "a-b_c.example", "x"])
PASSWORDS = st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
SERVERS = st.builds(
    SmpServer, exactly(32), st.lists(HOSTS, min_size=1, max_size=3).map(tuple), st.integers(1, 65_535), PASSWORDS
)


@given(SERVERS)
def test_an_address_is_read_as_it_was_written(server: SmpServer) -> None:
    assert SmpServer.parse(server.with_password()) == server
    plain = SmpServer.parse(str(server))
    assert (plain.key_hash, plain.hosts, plain.port, plain.password) == (
        server.key_hash,
        server.hosts,
        server.port,
        None,
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (f"smp://{FINGERPRINT}@{ONION}", f"smp://{FINGERPRINT}@{ONION}"),
        (f"smp://{FINGERPRINT}=@{ONION}:5223", f"smp://{FINGERPRINT}@{ONION}"),
        (f"  smp://{FINGERPRINT}@SMP.example:443\n", f"smp://{FINGERPRINT}@smp.example:443"),
        (f"smp://{FINGERPRINT}@smp.example,{ONION}:05223", f"smp://{FINGERPRINT}@smp.example,{ONION}"),
    ],
)
def test_there_is_one_way_to_write_an_address(text: str, written: str) -> None:
    server = SmpServer.parse(text)
    assert (str(server), server.key_hash, server.fingerprint) == (written, KEY_HASH, FINGERPRINT)


def test_the_onion_host_is_the_one_to_use() -> None:
    assert SmpServer.parse(f"smp://{FINGERPRINT}@smp.example,{ONION}").host == ONION
    assert SmpServer.parse(f"smp://{FINGERPRINT}@smp.example,127.0.0.1").host == "smp.example"


@pytest.mark.parametrize("password", ["pass", "pass:word", "pass@smp.example", "!~"])
def test_a_password_is_kept_out_of_sight(password: str) -> None:
    server = SmpServer.parse(f"smp://{FINGERPRINT}:{password}@{ONION}")
    assert server.password == password
    assert password not in repr(server)
    assert str(server) == f"smp://{FINGERPRINT}@{ONION}"


MALFORMED = [
    "",
    "smp://",
    ONION,
    f"smp://{ONION}",
    f"https://{FINGERPRINT}@{ONION}",
    f"smp://{FINGERPRINT}@",
    f"smp://{FINGERPRINT}@{ONION}:",
    f"smp://{FINGERPRINT}@{ONION}:0",
    f"smp://{FINGERPRINT}@{ONION}:65536",
    f"smp://{FINGERPRINT}@{ONION}:123456",
    f"smp://{FINGERPRINT}@{ONION}/path",
    f"smp://{FINGERPRINT}:@{ONION}",
    f"smp://{FINGERPRINT}:secret word@{ONION}",
    f"smp://{FINGERPRINT}:secret@{ONION},",
    f"smp://{FINGERPRINT}:secret@",
    f"smp://{FINGERPRINT[:-1]}@{ONION}",
    f"smp://{FINGERPRINT}A@{ONION}",
    f"smp://{FINGERPRINT[:-1]}+@{ONION}",
    f"smp://{FINGERPRINT}:secret@-.example",
    f"smp://{FINGERPRINT}:secret@.onion",
    f"smp://{FINGERPRINT}:secret@{'a' * 64}.example",
    f"smp://{FINGERPRINT}:secret@{'a.' * 127}example",
    f"smp://{FINGERPRINT}:secret@caf\u00e9.example",
    f"smp://{FINGERPRINT}@\u212aelvin.example",  # a sign that is a k in lower case
    f"smp://{FINGERPRINT}@smp.example\n:5223",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError, match="that is not a messaging server's address") as caught:
        SmpServer.parse(text)
    said = f"{caught.value} {caught.value.hint}"
    assert "secret" not in said
    assert ONION not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text() | st.from_regex(r"smp://[A-Za-z0-9_-]{43}=?(:[!-~]*)?@[ -~]*(:[0-9]*)?", fullmatch=True))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        server = SmpServer.parse(text)
    except UsageError:
        return
    assert SmpServer.parse(server.with_password()) == server
