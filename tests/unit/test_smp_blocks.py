"""Blocks: all of one size, opened once and in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smp_strategies import exactly

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, MAX_BLOCK_DATA, ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.crypto import TAG_SIZE

SESSION_ID = bytes(range(32))
AGREED = bytes(range(32, 64))

DATA = st.binary(max_size=40) | st.binary(max_size=40).map(lambda start: start.ljust(MAX_BLOCK_DATA, b"x"))


def both_sides() -> tuple[ChainedBlocks, ChainedBlocks]:
    return ChainedBlocks.for_client(SESSION_ID, AGREED), ChainedBlocks.for_server(SESSION_ID, AGREED)


@given(st.lists(st.tuples(st.booleans(), DATA), max_size=40))
def test_what_one_side_seals_the_other_opens(said: list[tuple[bool, bytes]]) -> None:
    client, server = both_sides()
    blocks = set()
    for by_client, data in said:
        one, other = (client, server) if by_client else (server, client)
        block = one.seal(data)
        assert len(block) == BLOCK_SIZE
        assert other.open(block) == data
        blocks.add(block)
    assert len(blocks) == len(said)  # no two are the same, whatever is in them


@given(DATA)
def test_blocks_without_boxes_show_what_is_in_them(data: bytes) -> None:
    blocks = PlainBlocks()
    block = blocks.seal(data)
    assert len(block) == BLOCK_SIZE
    assert block == len(data).to_bytes(2, "big") + data + b"#" * (BLOCK_SIZE - 2 - len(data))
    assert blocks.open(block) == data


def test_a_box_has_less_room() -> None:
    client, server = both_sides()
    with pytest.raises(ValueError, match="16367 bytes do not fit into 16368"):
        client.seal(bytes(MAX_BLOCK_DATA + 1))
    # That used no key: the next block is the first.
    assert server.open(client.seal(bytes(MAX_BLOCK_DATA))) == bytes(MAX_BLOCK_DATA)
    assert PlainBlocks().open(PlainBlocks().seal(bytes(MAX_BLOCK_DATA + TAG_SIZE))) == bytes(
        MAX_BLOCK_DATA + TAG_SIZE
    )


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE + 1])
def test_blocks_of_other_sizes_are_refused(size: int) -> None:
    for blocks in (PlainBlocks(), both_sides()[0]):
        with pytest.raises(MalformedBlock, match=f"a block: it has {size} bytes, not 16384"):
            blocks.open(bytes(size))


@given(st.integers(0, BLOCK_SIZE * 8 - 1))
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    client, server = both_sides()
    block = bytearray(client.seal(b"text"))
    block[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedBlock, match="a block: it does not open"):
        server.open(bytes(block))


def test_blocks_open_once_in_order_and_on_the_other_side_alone() -> None:
    client, server = both_sides()
    first, second = client.seal(b"first"), client.seal(b"second")
    assert server.open(first) == b"first"
    for block in (first, server.seal(b"back")):
        with pytest.raises(MalformedBlock, match="it does not open"):
            both_sides()[1].open(second)
        with pytest.raises(MalformedBlock, match="it does not open"):
            server.open(block)


@given(exactly(32), exactly(32))
def test_another_session_or_secret_opens_nothing(session_id: bytes, agreed: bytes) -> None:
    block = both_sides()[0].seal(b"text")
    for other in (
        ChainedBlocks.for_server(session_id, AGREED),
        ChainedBlocks.for_server(SESSION_ID, agreed),
    ):
        with pytest.raises(MalformedBlock, match="it does not open"):
            other.open(block)


def test_a_plain_block_that_says_more_than_it_has_is_refused() -> None:
    with pytest.raises(MalformedBlock, match="a block: it is cut short"):
        PlainBlocks().open(b"\xff" * BLOCK_SIZE)
