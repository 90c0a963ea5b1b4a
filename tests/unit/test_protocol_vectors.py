"""Every byte of tests/data/vectors.json, with the real parameters."""

from __future__ import annotations

from typing import Any

import pytest
from protocol_material import VECTORS, bucket_with

from onion_rdv.protocol import (
    BucketId,
    Invite,
    bucket_link,
    check_entry,
    decode_onion_address,
    encode_onion_address,
    normalise_passphrase,
    open_bucket,
    seal,
)

pytestmark = pytest.mark.parametrize("vector", VECTORS, ids=[vector["onion_address"][:8] for vector in VECTORS])


def test_the_address_spells_out_the_key(vector: dict[str, Any]) -> None:
    assert decode_onion_address(vector["onion_address"]).hex() == vector["onion_key"]
    assert encode_onion_address(bytes.fromhex(vector["onion_key"])) == vector["onion_address"]


def test_the_bucket_has_its_id_and_its_link(vector: dict[str, Any]) -> None:
    bucket_id = BucketId(vector["created_at"], vector["number"])
    assert bucket_id.encode().hex() == vector["bucket_id"]
    assert BucketId.decode(bytes.fromhex(vector["bucket_id"])) == bucket_id
    assert bucket_link(bucket_id, bytes.fromhex(vector["onion_key"])).hex() == vector["bucket_link"]


def test_the_passphrase_is_normalised(vector: dict[str, Any]) -> None:
    assert normalise_passphrase(vector["passphrase"]).decode() == vector["normalised_passphrase"]


def test_the_link_is_sealed_to_the_entry(vector: dict[str, Any]) -> None:
    salt, onion_key = bytes.fromhex(vector["salt"]), bytes.fromhex(vector["onion_key"])
    assert seal(vector["link"], vector["passphrase"], salt, onion_key).hex() == vector["entry"]


def test_the_bucket_opens_to_the_link(vector: dict[str, Any]) -> None:
    salt, onion_key = bytes.fromhex(vector["salt"]), bytes.fromhex(vector["onion_key"])
    entry = bytes.fromhex(vector["entry"])
    bucket = bucket_with({vector["slot"]: entry}, filling=entry[::-1])
    check_entry(entry, bucket, "this bucket")
    assert open_bucket(bucket, vector["passphrase"], salt, onion_key) == vector["link"]


def test_the_invite_is_written_and_read(vector: dict[str, Any]) -> None:
    parts = (
        bytes.fromhex(vector["onion_key"]),
        vector["port"],
        bytes.fromhex(vector["bucket_link"]),
        bytes.fromhex(vector["salt"]),
    )
    invite = Invite(*parts)
    assert str(invite) == vector["invite"]
    assert Invite.parse(vector["invite"]) == invite
    assert invite.onion_address == vector["onion_address"]

    with_passphrase = Invite(*parts, vector["passphrase"])
    assert Invite.parse(str(with_passphrase)) == with_passphrase
    assert with_passphrase.passphrase == vector["normalised_passphrase"]
    if vector["invite_with_passphrase"] is not None:
        assert str(with_passphrase) == vector["invite_with_passphrase"]
