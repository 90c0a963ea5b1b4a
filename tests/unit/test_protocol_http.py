"""The little of HTTP that a client understands: the protocol's replies, and nothing that they may not be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onion_rdv.errors import MalformedReply
from onion_rdv.protocol.exchange import Problem, bucket_reply, problem_reply
from onion_rdv.protocol.http import HEAD_END, Head, check_beginning, post, read_head

TYPE = "application/octet-stream"


def test_a_request_is_what_the_protocol_says() -> None:
    request = post("/v1/store", "a" * 56 + ".onion", bytes(256))
    head, _, body = request.partition(HEAD_END)
    assert head.split(b"\r\n") == [
        b"POST /v1/store HTTP/1.1",
        b"Host: " + b"a" * 56 + b".onion",
        b"Content-Type: application/octet-stream",
        b"Content-Length: 256",
    ]
    assert body == bytes(256)
    assert len(request) == 414


@pytest.mark.parametrize("reply", [bucket_reply(bytes(16_384)), problem_reply(Problem.BUSY)])
def test_replies_of_the_protocol_are_read(reply: bytes) -> None:
    head, _, body = reply.partition(HEAD_END)
    check_beginning(head)
    status = int(reply[9:12])
    media_type = TYPE if status == 200 else "application/problem+json"
    assert read_head(head) == Head(status, media_type, len(body))


@pytest.mark.parametrize(
    ("head", "read"),
    [
        ("HTTP/1.1 200\r\nContent-Length: 5", Head(200, TYPE, 5)),
        ("HTTP/1.1 200 OK then\r\nCONTENT-LENGTH:\t5\t\r\nX-Needless: \x80\xff", Head(200, TYPE, 5)),
        ("HTTP/1.1 503 \r\ncontent-type:Text/HTML; charset=x\r\nContent-Length: 0", Head(503, "text/html", 0)),
        ("HTTP/1.1 200 \r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 1", Head(200, "a/b, c/d", 1)),
        ("HTTP/1.1 200 \r\nContent-Type:\r\nContent-Length: 1", Head(200, "", 1)),
    ],
)
def test_what_is_needless_is_passed_over(head: str, read: Head) -> None:
    assert read_head(head.encode("latin-1")) == read


@pytest.mark.parametrize(
    "head",
    [
        "",
        "HTTP/1.0 200 \r\nContent-Length: 5",
        "HTTP/2 200 \r\nContent-Length: 5",
        "HTTP/1.1 20 \r\nContent-Length: 5",
        "HTTP/1.1 099 \r\nContent-Length: 5",
        "HTTP/1.1 2000 \r\nContent-Length: 5",
        "HTTP/1.1 200 \x1b[2J\r\nContent-Length: 5",
        " HTTP/1.1 200 \r\nContent-Length: 5",
        "HTTP/1.1 200 ",
        "HTTP/1.1 200 \r\nContent-Length: ",
        "HTTP/1.1 200 \r\nContent-Length: -5",
        "HTTP/1.1 200 \r\nContent-Length: +5",
        "HTTP/1.1 200 \r\nContent-Length: 5, 5",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5",
        "HTTP/1.1 200 \r\nContent-Length: \xb2",
        "HTTP/1.1 200 \r\nContent-Length: " + "9" * 20,
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 \r\nTransfer-Encoding: identity",
        "HTTP/1.1 200 \r\nContent-Length : 5",
        "HTTP/1.1 200 \r\n Content-Length: 5",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nno field",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 5\nX: y",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\nX: " + "y" * 16_384,
    ],
)
def test_what_is_no_head_is_refused(head: str) -> None:
    with pytest.raises(MalformedReply, match="not HTTP as the protocol wants it") as caught:
        read_head(head.encode("latin-1"))
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("received", [b"h", b"HTTP/1.0", b"\0", b"HTTP/1.1 200 " + bytes(16_384)])
def test_what_cannot_become_a_head_is_refused_at_once(received: bytes) -> None:
    with pytest.raises(MalformedReply):
        check_beginning(received)


@pytest.mark.parametrize("size", range(30))
def test_what_can_become_a_head_is_waited_for(size: int) -> None:
    check_beginning(bytearray(b"HTTP/1.1 200 \r\nContent-Length: 5"[:size]))


@given(st.binary() | st.binary().map(lambda more: b"HTTP/1.1 200 \r\nContent-Length: 7\r\nX:" + more))
def test_any_bytes_are_read_or_refused(head: bytes) -> None:
    try:
        read = read_head(head)
    except MalformedReply:
        return
    assert 100 <= read.status <= 999
    assert read.length >= 0
