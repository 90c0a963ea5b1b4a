"""Short links in few bytes: one packing for every link, whatever else there is is refused, and whole entries."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_material import KIND1_VECTORS, ONION_KEY, SALT, bucket_with, cheap_argon2, flip, plaintext_of
from short_links import NAMES, ONION_HOSTS, respelled, short_links

from onion_rdv.errors import LinkTooLong, MalformedEntry
from onion_rdv.protocol import LinkScheme, LinkType, ShortLink, decode_link, encode_link, open_bucket, seal
from onion_rdv.protocol.packed_link import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = {vector["name"]: vector for vector in KIND1_VECTORS}
LONG = VECTORS["one-time"]
PACKED = bytes.fromhex(LONG["packed"])


@pytest.fixture(scope="module", autouse=True)
def _cheap() -> Iterator[None]:
    with cheap_argon2():
        yield


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_is_packed_and_unpacked(name: str) -> None:
    vector = VECTORS[name]
    link = ShortLink.parse(vector["link"])
    assert pack(link).hex() == vector["packed"]
    assert unpack(bytes.fromhex(vector["packed"])) == link
    assert link.write() == vector["comes_back"]


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_is_sent_in_its_kind_and_read_in_both(name: str) -> None:
    vector = VECTORS[name]
    packed = plaintext_of(1, bytes.fromhex(vector["packed"]))
    assert decode_link(packed) == vector["comes_back"]
    assert encode_link(vector["link"]) == (packed if vector["kind"] else plaintext_of(0, vector["link"].encode()))
    assert decode_link(encode_link(vector["link"])) == (vector["comes_back"] if vector["kind"] else vector["link"])


def test_the_vectors_have_every_type_in_both_forms_and_both_sides_of_every_bound() -> None:
    links = [ShortLink.parse(vector["link"]) for vector in KIND1_VECTORS]
    assert {(link.type, link.scheme) for link in links} == {
        (kind, scheme) for kind in LinkType for scheme in LinkScheme
    }
    assert {206, 207, 221, 224} <= {len(vector["link"]) for vector in KIND1_VECTORS}
    assert {bool(link.port) for link in links} == {bool(link.key_hash) for link in links} == {True, False}
    assert max(len(vector["packed"]) // 2 for vector in KIND1_VECTORS) == 206


@given(short_links())
def test_any_link_comes_back_out_of_its_packing(link: ShortLink) -> None:
    packed = pack(link)
    assert unpack(packed) == link
    assert unpack(packed).write() == link.write()


@given(short_links(ONION_HOSTS | NAMES.map(lambda name: name.lower()[-30:].lstrip("-.")), max_hosts=3))
def test_any_link_that_has_room_comes_back_out_of_a_whole_entry(link: ShortLink) -> None:
    text = link.write()
    size, packed_size = len(text), len(pack(link))
    if size > 206 and packed_size > 206:
        with pytest.raises(LinkTooLong):
            seal(text, "passphrase", SALT, ONION_KEY)
        return
    assert encode_link(text)[0] == (size > 206)
    assert decode_link(encode_link(text)) == text
    bucket = bucket_with({7: seal(text, "passphrase", SALT, ONION_KEY)})
    assert open_bucket(bucket, "passphrase", SALT, ONION_KEY) == text


@given(st.data())
def test_other_spellings_come_back_in_the_canonical_form(data: st.DataObject) -> None:
    link = data.draw(short_links(max_hosts=2).filter(lambda link: len(pack(link)) <= 206))
    text = data.draw(respelled(link))
    assert decode_link(encode_link(text)) == (text if len(text.encode()) <= 206 else link.write())


@given(
    st.binary(max_size=250)
    | st.builds(lambda link, bit: flip(pack(link), bit % (8 * len(pack(link)))), short_links(), st.integers(0))
    | st.builds(lambda link, size: pack(link)[:size], short_links(), st.integers(0, 250))
    | st.builds(lambda link, more: pack(link) + more, short_links(), st.binary(max_size=3))
    | st.builds(
        lambda host, head, rest: bytes([head, len(host)]) + host + rest,
        st.binary(max_size=20) | st.text("abz09.:-_[]", max_size=20).map(str.encode),
        st.integers(0, 31),
        st.binary(min_size=30, max_size=60),
    )
)
def test_any_bytes_are_the_one_packing_of_a_link_or_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedEntry):
        link = unpack(data)
        assert pack(link) == data
        assert ShortLink.parse(link.write()) == link


@given(st.binary(min_size=1, max_size=206))
def test_any_body_of_kind_1_is_a_short_link_or_refused(body: bytes) -> None:
    with contextlib.suppress(MalformedEntry):
        assert pack(ShortLink.parse(decode_link(plaintext_of(1, body)))) == body


@pytest.mark.parametrize("size", range(len(PACKED)))
def test_nothing_that_is_cut_short_is_a_packed_link(size: int) -> None:
    with pytest.raises(MalformedEntry, match="its packed link is cut short"):
        unpack(PACKED[:size])


@pytest.mark.parametrize("head", [0x05, 0x06, 0x07, 0x40, 0x80, 0xFF])
def test_what_is_not_assigned_may_be_newer(head: int) -> None:
    with pytest.raises(MalformedEntry, match="of a sort that this version does not know") as caught:
        unpack(bytes([head]) + PACKED[1:])
    assert caught.value.hint == "the sender's version is newer: update onion-rdv"


def test_a_short_link_that_fits_in_neither_kind_has_both_sizes_named() -> None:
    link = ShortLink.parse(LONG["link"])
    link = replace(link, hosts=(*link.hosts, "a" * 60 + ".example"))
    with pytest.raises(LinkTooLong) as caught:
        encode_link(link.write())
    assert caught.value.detail == "it has 295 bytes, and 206 is the most that fits; packed it has 211"
    assert caught.value.hint == "a link that names fewer hosts would fit"


def test_the_order_of_hosts_and_a_named_usual_port_are_kept() -> None:
    link = ShortLink.parse(LONG["link"])
    for other in (
        replace(link, hosts=link.hosts[::-1]),
        replace(link, port=None),
        replace(link, hosts=link.hosts * 2),
    ):
        assert unpack(pack(other)) == other
        assert pack(other) != PACKED


def test_the_same_link_in_both_kinds_is_the_same_link() -> None:
    vector: dict[str, Any] = VECTORS["one-time-short"]
    assert decode_link(plaintext_of(1, bytes.fromhex(vector["packed"]))) == decode_link(encode_link(vector["link"]))
