"""Requests and replies, to the byte (docs/protocol.md, "Requests" and "Replies").

Whoever counts bytes on the way must not learn what was asked or answered: both requests have bodies of the same
size, and every reply is the same number of bytes from its status line to its end, whatever it says. That holds
because replies are built here whole, head and body: three digits of status, an empty reason phrase (RFC 9112,
section 4), one of two media types of equal length, a body of constant size, and no other field.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Final, NoReturn

from onion_rdv.errors import BucketUnknown, MalformedReply, MalformedRequest, ServerBusy, ServerCheckFailed
from onion_rdv.protocol.bucket import BUCKET_ID_SIZE, BUCKET_LINK_SIZE, BUCKET_SIZE, ENTRY_SIZE, BucketId

STORE_PATH: Final = "/v1/store"
FETCH_PATH: Final = "/v1/fetch"

REQUEST_BODY_SIZE: Final = ENTRY_SIZE
"""Bytes in the body of either request: 256."""

FETCH_PADDING_SIZE: Final = REQUEST_BODY_SIZE - BUCKET_LINK_SIZE
"""Random bytes that fill up a fetch: 240."""

REPLY_BODY_SIZE: Final = BUCKET_ID_SIZE + BUCKET_SIZE
"""Bytes in the body of every reply: 16,396."""

BUCKET_TYPE: Final = "application/octet-stream"
PROBLEM_TYPE: Final = "application/problem+json"

_STORED: Final = 201
_FOUND: Final = 200
_NO_ID: Final = bytes(BUCKET_ID_SIZE)


class Problem(Enum):
    """What a server can have to say instead of a bucket (RFC 9457): status, the last part of the type, title."""

    MALFORMED = (400, "malformed", "this is not an HTTP request that the protocol knows")
    UNKNOWN_PATH = (404, "unknown-path", "there is nothing but /v1/store and /v1/fetch here")
    BUCKET_UNKNOWN = (404, "bucket-unknown", "no bucket has this link, or it has expired")
    METHOD = (405, "method", "only POST is understood")
    LENGTH = (400, "length", "a request body has 256 bytes")
    TIMEOUT = (408, "timeout", "the request took too long to come")
    INTERNAL = (500, "internal", "the server has a fault; its operator can find it in the journal")
    BUSY = (503, "busy", "the server cannot do that now; try again a little later")

    def __init__(self, status: int, name: str, title: str) -> None:
        self.status = status
        self.type = f"urn:onion-rdv:{name}"
        self.title = title


def store_body(entry: bytes) -> bytes:
    """Give the 256-byte body of ``POST /v1/store``: the entry itself."""
    if len(entry) != ENTRY_SIZE:
        raise ValueError(f"an entry has {ENTRY_SIZE} bytes, not {len(entry)}")
    return entry


def fetch_body(link: bytes, padding: bytes) -> bytes:
    """Give the 256-byte body of ``POST /v1/fetch``: a 16-byte bucket link and 240 fresh random bytes."""
    if len(link) != BUCKET_LINK_SIZE or len(padding) != FETCH_PADDING_SIZE:
        raise ValueError(f"a fetch is a link of {BUCKET_LINK_SIZE} and padding of {FETCH_PADDING_SIZE} bytes")
    return link + padding


def parse_store(body: bytes) -> bytes:
    """Give the entry in the body of a store; raises :class:`~onion_rdv.errors.MalformedRequest`."""
    _check_request(body)
    return body


def parse_fetch(body: bytes) -> bytes:
    """Give the bucket link in the body of a fetch; raises :class:`~onion_rdv.errors.MalformedRequest`."""
    _check_request(body)
    return body[:BUCKET_LINK_SIZE]


def stored_reply(bucket_id: BucketId, bucket: bytes) -> bytes:
    """Give the whole reply to a store: 201, the bucket's id and the bucket with the entry in it."""
    return _STORED_HEAD + bucket_id.encode() + bucket


def bucket_reply(bucket: bytes) -> bytes:
    """Give the whole reply to a fetch: 200, twelve zero bytes and the bucket."""
    return _FOUND_HEAD + bucket


def problem_reply(problem: Problem) -> bytes:
    """Give a whole reply that says what was wrong, as a problem document filled up with spaces."""
    document = json.dumps({"type": problem.type, "title": problem.title, "status": problem.status})
    return _head(problem.status, PROBLEM_TYPE) + document.encode().ljust(REPLY_BODY_SIZE)


def read_stored(status: int, media_type: str, body: bytes) -> tuple[BucketId, bytes]:
    """Read the reply to a store: the bucket's id and its 16,384 bytes.

    Raises :class:`~onion_rdv.errors.ServerBusy`, :class:`~onion_rdv.errors.MalformedReply`, or
    :class:`~onion_rdv.errors.ServerCheckFailed` for a problem that an honest server has no reason to report.
    """
    _check_reply(status, _STORED, media_type, body)
    return BucketId.decode(body[:BUCKET_ID_SIZE]), body[BUCKET_ID_SIZE:]


def read_bucket(status: int, media_type: str, body: bytes) -> bytes:
    """Read the reply to a fetch: the 16,384 bytes of a bucket.

    Raises :class:`~onion_rdv.errors.BucketUnknown`, and otherwise as :func:`read_stored` does.
    """
    _check_reply(status, _FOUND, media_type, body)
    if body[:BUCKET_ID_SIZE] != _NO_ID:
        raise MalformedReply("it does not begin with twelve zero bytes")
    return body[BUCKET_ID_SIZE:]


def _head(status: int, media_type: str) -> bytes:
    return (f"HTTP/1.1 {status} \r\nContent-Type: {media_type}\r\nContent-Length: {REPLY_BODY_SIZE}\r\n\r\n").encode()


_STORED_HEAD: Final = _head(_STORED, BUCKET_TYPE)
_FOUND_HEAD: Final = _head(_FOUND, BUCKET_TYPE) + _NO_ID

REPLY_SIZE: Final = len(_FOUND_HEAD) + BUCKET_SIZE
"""Bytes of every reply, from the status line to the end of the body."""


def _check_request(body: bytes) -> None:
    if len(body) != REQUEST_BODY_SIZE:
        raise MalformedRequest(f"its body has {len(body)} bytes, not {REQUEST_BODY_SIZE}")


def _check_reply(status: int, expected: int, media_type: str, body: bytes) -> None:
    if len(body) != REPLY_BODY_SIZE:
        raise MalformedReply(f"its body has {len(body)} bytes, not {REPLY_BODY_SIZE}")
    if media_type == PROBLEM_TYPE:
        _raise_problem(status, expected, body)
    if media_type != BUCKET_TYPE:
        raise MalformedReply("its media type is not one of the protocol")
    if status != expected:
        raise MalformedReply(f"its status is {status}, not {expected}")


def _raise_problem(status: int, expected: int, body: bytes) -> NoReturn:
    """Raise our own words for the problem: nothing that a server writes is ever shown."""
    try:
        document = json.loads(body)
        said = (document["status"], document["type"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MalformedReply("it is not a problem document") from None
    problem = next((p for p in Problem if (p.status, p.type) == said and p.status == status), None)
    if problem is Problem.BUCKET_UNKNOWN and expected == _FOUND:  # a store names no bucket
        raise BucketUnknown
    if problem in {Problem.BUSY, Problem.INTERNAL, Problem.TIMEOUT}:  # an honest server has reason for these
        raise ServerBusy(problem.title)
    if problem is None:
        raise MalformedReply(f"it reports a problem, status {status}, that the protocol does not know")
    raise ServerCheckFailed(f"it refuses a request that is right ({problem.title})")
