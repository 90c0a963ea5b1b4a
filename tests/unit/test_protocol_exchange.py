"""Requests and replies: their bytes, their equal lengths, and what a client makes of anything else."""

from __future__ import annotations

import io
import json
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onion_rdv.errors import (
    BucketUnknown,
    MalformedReply,
    MalformedRequest,
    RdvError,
    ServerBusy,
    ServerCheckFailed,
)
from onion_rdv.protocol import BUCKET_SIZE, BucketId
from onion_rdv.protocol.exchange import (
    BUCKET_TYPE,
    FETCH_PADDING_SIZE,
    FETCH_PATH,
    PROBLEM_TYPE,
    REPLY_BODY_SIZE,
    REPLY_SIZE,
    STORE_PATH,
    Problem,
    bucket_reply,
    fetch_body,
    parse_fetch,
    parse_store,
    problem_reply,
    read_bucket,
    read_stored,
    store_body,
    stored_reply,
)

if TYPE_CHECKING:
    import socket

BUCKET = bytes(range(256)) * 64
BUCKET_ID = BucketId(1_704_696_120, 7)
REPLIES = {
    "stored": stored_reply(BUCKET_ID, BUCKET),
    "bucket": bucket_reply(BUCKET),
    **{problem.type: problem_reply(problem) for problem in Problem},
}
READERS = [read_stored, read_bucket]


class Wire:
    """As much of a socket as http.client reads a reply from."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


def read_http(reply: bytes) -> tuple[int, str, bytes]:
    """Read a reply with the standard library, so that not our own code alone calls it HTTP."""
    with HTTPResponse(cast("socket.socket", Wire(reply))) as response:
        response.begin()
        assert response.reason == ""
        assert {name.lower() for name, _ in response.getheaders()} == {"content-type", "content-length"}
        return response.status, response.headers["Content-Type"], response.read()


@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_has_the_same_length_and_is_http(name: str) -> None:
    assert len(REPLIES[name]) == REPLY_SIZE == 16_476
    _, _, body = read_http(REPLIES[name])
    assert len(body) == REPLY_BODY_SIZE == 16_396


def test_the_heads_to_the_byte() -> None:
    head = b"HTTP/1.1 201 \r\nContent-Type: application/octet-stream\r\nContent-Length: 16396\r\n\r\n"
    assert REPLIES["stored"] == head + BUCKET_ID.encode() + BUCKET
    assert REPLIES["bucket"] == head.replace(b"201", b"200") + bytes(12) + BUCKET
    busy = REPLIES["urn:onion-rdv:busy"]
    assert busy.startswith(head.replace(b"201", b"503").replace(b"octet-stream", b"problem+json") + b"{")
    assert busy.rstrip(b" ").endswith(b"}")


def test_both_requests_have_the_same_length() -> None:
    assert len(STORE_PATH) == len(FETCH_PATH)
    assert len(store_body(bytes(256))) == len(fetch_body(bytes(16), bytes(240))) == 256
    assert FETCH_PADDING_SIZE == 240


@given(st.binary(min_size=256, max_size=256), st.binary(min_size=16, max_size=16))
def test_requests_come_back(entry: bytes, link: bytes) -> None:
    assert parse_store(store_body(entry)) == entry
    assert parse_fetch(fetch_body(link, entry[16:])) == link
    assert fetch_body(link, entry[16:]) == link + entry[16:]


@given(st.binary(max_size=600))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    for parse, size in ((parse_store, 256), (parse_fetch, 16)):
        if len(body) == 256:
            assert parse(body) == body[:size]
        else:
            with pytest.raises(MalformedRequest, match=f"its body has {len(body)} bytes, not 256"):
                parse(body)


@pytest.mark.parametrize("size", [0, 255, 257])
def test_an_entry_of_another_size_is_not_sent(size: int) -> None:
    with pytest.raises(ValueError, match=f"an entry has 256 bytes, not {size}"):
        store_body(bytes(size))


@pytest.mark.parametrize(("link", "padding"), [(15, 240), (17, 240), (16, 239), (16, 241), (15, 241)])
def test_a_fetch_of_another_size_is_not_sent(link: int, padding: int) -> None:
    with pytest.raises(ValueError, match="a fetch is a link of 16 and padding of 240 bytes"):
        fetch_body(bytes(link), bytes(padding))


def test_replies_come_back() -> None:
    assert read_stored(*read_http(REPLIES["stored"])) == (BUCKET_ID, BUCKET)
    assert read_bucket(*read_http(REPLIES["bucket"])) == BUCKET


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("problem", Problem)
def test_every_problem_is_understood(problem: Problem, read: Any) -> None:
    status, media_type, body = read_http(problem_reply(problem))
    assert (status, media_type) == (problem.status, "application/problem+json")
    assert json.loads(body) == {"type": problem.type, "title": problem.title, "status": problem.status}
    expected: type[RdvError] = ServerCheckFailed
    if problem in {Problem.BUSY, Problem.INTERNAL, Problem.TIMEOUT}:
        expected = ServerBusy
    elif problem is Problem.BUCKET_UNKNOWN and read is read_bucket:
        expected = BucketUnknown
    with pytest.raises(RdvError) as caught:
        read(status, media_type, body)
    assert type(caught.value) is expected


def document(**members: object) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    "start",
    [
        b"[" * REPLY_BODY_SIZE,
        b'{"status":' * 1600,
        b'{"status": ' + b"9" * 10_000 + b', "type": "urn:onion-rdv:busy"}',
        b'"status"',
        b"null",
        b"503",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"status": 503, "type": "urn:onion-rdv:busy"} {}',
        document(),
        document(status=[], type={}),
        document(status="503", type="urn:onion-rdv:busy"),
        document(status=503, type=["urn:onion-rdv:busy"]),
        document(status=503, type="urn:onion-rdv:busy\u0000"),
        document(status=503, type="busy"),
        '{"status": NaN, "type": Infinity}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("read", READERS)
def test_a_hostile_problem_document_is_refused(start: bytes, read: Any) -> None:
    with pytest.raises(MalformedReply) as caught:
        read(503, PROBLEM_TYPE, start.ljust(REPLY_BODY_SIZE)[:REPLY_BODY_SIZE])
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("problem", Problem)
def test_nothing_that_a_server_writes_is_shown(problem: Problem) -> None:
    body = document(type=problem.type, status=problem.status, title="EVIL \x1b[2J", detail="EVIL", EVIL="EVIL")
    with pytest.raises(RdvError) as caught:
        read_bucket(problem.status, PROBLEM_TYPE, body.ljust(REPLY_BODY_SIZE))
    assert "EVIL" not in f"{caught.value} {caught.value.hint} {caught.value!r}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "status", "x"]), inner),
    max_leaves=8,
)


@given(
    st.integers(100, 999) | st.sampled_from([200, 201, 404, 503]),
    st.sampled_from([BUCKET_TYPE, PROBLEM_TYPE]) | st.text(),
    st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([REPLY_BODY_SIZE, REPLY_BODY_SIZE, REPLY_BODY_SIZE, REPLY_BODY_SIZE + 1, 12, 0]),
)
def test_any_reply_is_read_or_refused(status: int, media_type: str, start: bytes, size: int) -> None:
    body = start.ljust(size)[:size]
    for read, right, begins in ((read_stored, 201, b""), (read_bucket, 200, bytes(12))):
        good = size == REPLY_BODY_SIZE and media_type == BUCKET_TYPE and status == right and body.startswith(begins)
        if good:
            assert read(status, media_type, body) in (
                body[12:],
                (BucketId.decode(body[:12]), body[-BUCKET_SIZE:]),
            )
        else:
            with pytest.raises((ServerCheckFailed, ServerBusy, BucketUnknown)):
                read(status, media_type, body)
