"""As much of HTTP/1.1 as a client needs for one request on a stream (docs/protocol.md, "Requests" and "Replies").

What a server may not send is not understood: interim replies, chunks, a reply without its length. Fields that are
needless are passed over.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from onion_rdv.errors import MalformedReply
from onion_rdv.protocol.exchange import BUCKET_TYPE

HEAD_END: Final = b"\r\n\r\n"

_BEGINNING: Final = b"HTTP/1.1 "
_MAX_HEAD: Final = 16_384
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")


class Head(NamedTuple):
    """What the head of a reply says: its status, its media type in lower case, and how long its body is."""

    status: int
    media_type: str
    length: int


def post(path: str, authority: str, body: bytes) -> bytes:
    """Give a whole request."""
    fields = f"Host: {authority}\r\nContent-Type: {BUCKET_TYPE}\r\nContent-Length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body


def check_beginning(received: bytes | bytearray) -> None:
    """Raise :class:`~onion_rdv.errors.MalformedReply` where no head begins like that, or it is too long for one."""
    beginning = bytes(received[: len(_BEGINNING)])
    if len(received) > _MAX_HEAD or not _BEGINNING.startswith(beginning):
        raise _no_http()


def read_head(head: bytes) -> Head:
    """Read a head, without the empty line at its end; raises :class:`~onion_rdv.errors.MalformedReply`."""
    line, *fields = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(line)
    if status is None or len(head) > _MAX_HEAD:
        raise _no_http()
    lengths: list[bytes] = []
    types: list[str] = []
    for text in fields:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise _no_http()
        match field[1].lower():
            case b"content-length":
                lengths.append(field[2])
            case b"content-type":
                types.append(field[2].decode("latin-1"))
            case b"transfer-encoding":
                raise _no_http()
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise _no_http()
    media_type = ", ".join(types or [BUCKET_TYPE]).partition(";")[0].strip().lower()
    return Head(int(status[1]), media_type, int(lengths[0]))


def _no_http() -> MalformedReply:
    return MalformedReply("it is not HTTP as the protocol wants it")
