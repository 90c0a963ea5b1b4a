"""Every case of tests/data/must_fail.json is refused, with the error and the words that it names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
from protocol_material import MUST_FAIL, bucket_with, real_keys

from onion_rdv import errors
from onion_rdv.errors import RdvError
from onion_rdv.protocol import (
    BUCKET_SIZE,
    BucketId,
    Invite,
    Limits,
    ShortLink,
    check_bucket_id,
    check_entry,
    decode_link,
    decode_onion_address,
    encode_link,
    normalise_passphrase,
    open_bucket_with,
)
from onion_rdv.protocol.exchange import parse_fetch, parse_store, read_bucket, read_stored

if TYPE_CHECKING:
    from collections.abc import Callable


def open_case(case: dict[str, Any]) -> str:
    entries = {int(place): bytes.fromhex(entry) for place, entry in case["entries"].items()}
    size = case.get("size", BUCKET_SIZE)
    bucket = bytearray(bucket_with(entries).ljust(size, b"\0")[:size])
    for place, entry in entries.items():  # also behind the last place
        bucket[place * 256 : (place + 1) * 256] = entry
    keys = real_keys(case["passphrase"], bytes.fromhex(case["salt"]), bytes.fromhex(case["onion_key"]))
    return open_bucket_with(bytes(bucket[:size]), keys)


def body_of(case: dict[str, Any]) -> bytes:
    if "start_hex" in case:
        return bytes.fromhex(case["start_hex"]).ljust(case["size"], b"\0")[: case["size"]]
    return bytes(case["start"].encode().ljust(case["size"])[: case["size"]])


OPERATIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "onion-address": lambda case: decode_onion_address(case["address"]),
    "invite": lambda case: Invite.parse(case["invite"]),
    "passphrase": lambda case: normalise_passphrase(case["passphrase"]),
    "link": lambda case: encode_link(case["link"]),
    "short-link": lambda case: ShortLink.parse(case["link"]),
    "plaintext": lambda case: decode_link(bytes.fromhex(case["plaintext"])),
    "bucket": open_case,
    "bucket-id": lambda case: BucketId.decode(bytes.fromhex(case["bucket_id"])),
    "store-request": lambda case: parse_store(bytes(case["size"])),
    "fetch-request": lambda case: parse_fetch(bytes(case["size"])),
    "store-reply": lambda case: read_stored(case["status"], case["media_type"], body_of(case)),
    "fetch-reply": lambda case: read_bucket(case["status"], case["media_type"], body_of(case)),
    "bucket-check": lambda case: check_bucket_id(BucketId(case["created_at"], case["number"]), case["now"], Limits()),
    "entry-check": lambda case: check_entry(
        bytes.fromhex(case["entry"]),
        bucket_with(dict.fromkeys(case["places"], bytes.fromhex(case["entry"]))),
        "the bucket",
    ),
}

CASES = {case["name"]: case for case in MUST_FAIL}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(name: str) -> None:
    case = CASES[name]
    with pytest.raises(ValueError if case["error"] == "ValueError" else getattr(errors, case["error"])) as caught:
        OPERATIONS[case["operation"]](case["input"])
    assert type(caught.value).__name__ == case["error"]
    assert case["text"].lower() in str(caught.value).lower()


SECRET = [name for name, case in CASES.items() if case["operation"] in {"invite", "link", "short-link", "passphrase"}]


@pytest.mark.parametrize("name", SECRET)
def test_the_error_repeats_nothing_that_was_given(name: str) -> None:
    case = CASES[name]
    (given,) = case["input"].values()
    with pytest.raises(RdvError) as caught:
        OPERATIONS[case["operation"]](case["input"])
    said = f"{caught.value} {caught.value.hint}"
    assert [given[start : start + 8] for start in range(len(given) - 7) if given[start : start + 8] in said] == []
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # or a traceback would show it


def test_every_operation_has_cases_and_no_name_comes_twice() -> None:
    assert {case["operation"] for case in MUST_FAIL} == set(OPERATIONS)
    assert [name for name, times in Counter(case["name"] for case in MUST_FAIL).items() if times > 1] == []


def test_the_ciphertext_for_two_keys_is_what_it_says() -> None:
    """Without its commitment it would open under both passphrases, so the case shows what the commitment is for."""
    case = CASES["bucket-two-keys"]["input"]
    entry = bytes.fromhex(case["entries"]["0"])
    for passphrase in (case["passphrase"], "staple battery horse correct"):
        keys = real_keys(passphrase, bytes.fromhex(case["salt"]), bytes.fromhex(case["onion_key"]))
        assert len(decrypt(entry[32:], None, keys.nonce, keys.key)) == 208
    assert entry[:32] == keys.commitment
