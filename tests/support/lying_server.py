"""Rendezvous servers that lie: what a malicious one could answer, each lie a small function of the honest reply.

A lie is made of what goes to the client (bytes) and of pauses between (seconds). Whatever text a lie holds has
``EVIL`` in it, so that a test can see whether any of it reached a person.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from onion_rdv.protocol import BUCKET_ID_SIZE, BUCKET_SIZE, ENTRY_SIZE, BucketId
from onion_rdv.protocol.exchange import (
    BUCKET_TYPE,
    PROBLEM_TYPE,
    REPLY_BODY_SIZE,
    STORE_PATH,
    Problem,
    bucket_reply,
    problem_reply,
)

Lie = Callable[[bytes], Iterable[bytes | float]]

ELSEWHERE = "http://evilevilevil.example/EVIL"
"""Where a lie would like the client to go."""

CLEAR_SCREEN = "\x1b[2J\x1b]0;EVIL\x07\x9bEVIL\u202e"
"""What a terminal should not get to see."""

_HEAD_END = b"\r\n\r\n"
_TRICKLE = 0.05  # seconds from one byte to the next: never slow enough for a time-out of its own
_FLOOD = b"EVIL" * 4096
_SENDING = 4096  # bytes for what waits here to be sent, so that hardly any of what is counted does


@dataclass
class LyingServer:
    """Answers with ``stored`` to stores and with ``fetched`` to fetches, each made of what ``honest`` would answer.

    ``requests`` are the requests, head and body; ``taken`` is how many bytes of one reply clients have taken at most,
    with what their machine has taken for them, and the few KiB that may wait here.
    """

    honest: Callable[[str, bytes], bytes]
    stored: Lie
    fetched: Lie
    requests: list[bytes] = field(default_factory=list)
    taken: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENDING)
        head = await reader.readuntil(_HEAD_END)
        body = await reader.readexactly(ENTRY_SIZE)
        self.requests.append(head + body)
        path = head.split(b" ")[1].decode()
        lie = self.stored if path == STORE_PATH else self.fetched
        sent = 0
        for piece in lie(self.honest(path, body)):
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                writer.write(piece)
                sent += len(piece)
                self.taken = max(self.taken, sent)
            await writer.drain()


def honest(reply: bytes) -> Iterator[bytes]:
    """Tell the truth."""
    yield reply


def _head(status: object, *fields: str, size: object = REPLY_BODY_SIZE) -> bytes:
    lines = [f"HTTP/1.1 {status} ", *fields, f"Content-Length: {size}", "", ""]
    return "\r\n".join(lines).encode()


def _type(media_type: str) -> str:
    return f"Content-Type: {media_type}"


def _body(reply: bytes) -> bytes:
    return reply[-REPLY_BODY_SIZE:]


def _status(reply: bytes) -> str:
    return reply[9:12].decode()


# About the bucket


def opened(ago: int, number: int = 0) -> Lie:
    """Say that the bucket was opened so many seconds ago."""

    def lie(reply: bytes) -> Iterable[bytes | float]:
        return with_id(BucketId(int(time.time()) - ago, number))(reply)

    return lie


def with_id(bucket_id: BucketId) -> Lie:
    """Give the bucket another id."""

    def lie(reply: bytes) -> Iterator[bytes]:
        yield reply[:-REPLY_BODY_SIZE] + bucket_id.encode() + reply[-BUCKET_SIZE:]

    return lie


def _bounds(reply: bytes, place: int) -> tuple[int, int]:
    start = len(reply) - BUCKET_SIZE + place * ENTRY_SIZE
    return start, start + ENTRY_SIZE


def entry_missing(place: int) -> Lie:
    """Give the bucket without the entry in it."""

    def lie(reply: bytes) -> Iterator[bytes]:
        start, end = _bounds(reply, place)
        yield reply[:start] + secrets.token_bytes(ENTRY_SIZE) + reply[end:]

    return lie


def entry_changed(place: int, bit: int = 1) -> Lie:
    """Change one bit of the entry, in its last byte."""

    def lie(reply: bytes) -> Iterator[bytes]:
        _, end = _bounds(reply, place)
        yield reply[: end - 1] + bytes([reply[end - 1] ^ bit]) + reply[end:]

    return lie


def entry_doubled(place: int) -> Lie:
    """Put the entry into another place too."""

    def lie(reply: bytes) -> Iterator[bytes]:
        start, end = _bounds(reply, place)
        again, after = _bounds(reply, (place + 1) % 64)
        yield reply[:again] + reply[start:end] + reply[after:]

    return lie


def entry_shifted(reply: bytes) -> Iterator[bytes]:
    """Move the bucket's bytes by one, so that the entry is there, but in no place."""
    bucket = reply[-BUCKET_SIZE:]
    yield reply[:-BUCKET_SIZE] + bucket[-1:] + bucket[:-1]


def another_bucket(_: bytes) -> Iterator[bytes]:
    """Give a bucket that has nothing of anybody's in it, whatever was asked for."""
    yield bucket_reply(secrets.token_bytes(BUCKET_SIZE))


def unknown(_: bytes) -> Iterator[bytes]:
    """Know nothing of the bucket."""
    yield problem_reply(Problem.BUCKET_UNKNOWN)


def with_an_id(reply: bytes) -> Iterator[bytes]:
    """Say in the reply to a fetch what only a store may hear: an id."""
    yield reply[:-REPLY_BODY_SIZE] + b"\x01".ljust(BUCKET_ID_SIZE) + reply[-BUCKET_SIZE:]


# About the length


def silence(_: bytes) -> Iterator[float]:
    """Say nothing, and keep the stream open."""
    while True:
        yield 1.0


def hang_up(_: bytes) -> Iterator[bytes]:
    """End the stream without a word."""
    return iter(())


def cut_short(reply: bytes) -> Iterator[bytes]:
    """End the stream in the middle of the reply."""
    yield reply[: len(reply) // 2]


def a_byte_short(reply: bytes) -> Iterator[bytes]:
    """Leave out the last byte, and say so."""
    yield _head(_status(reply), _type(BUCKET_TYPE), size=REPLY_BODY_SIZE - 1) + _body(reply)[:-1]


def a_byte_long(reply: bytes) -> Iterator[bytes]:
    """Add a byte, and say so."""
    yield _head(_status(reply), _type(BUCKET_TYPE), size=REPLY_BODY_SIZE + 1) + _body(reply) + b"!"


def empty(reply: bytes) -> Iterator[bytes]:
    """Have a good head and no body."""
    yield _head(_status(reply), _type(BUCKET_TYPE), size=0)


def endless(reply: bytes) -> Iterator[bytes]:
    """Never come to the end of the body, having promised an impossible one."""
    yield _head(_status(reply), _type(BUCKET_TYPE), size=2**62) + _body(reply)
    yield from itertools.repeat(_FLOOD)


def endless_line(_: bytes) -> Iterator[bytes]:
    """Never come to the end of the status line."""
    yield b"HTTP/1.1 201 "
    yield from itertools.repeat(_FLOOD)


def endless_field(reply: bytes) -> Iterator[bytes]:
    """Never come to the end of a field."""
    yield f"HTTP/1.1 {_status(reply)} \r\nX-Evil: ".encode()
    yield from itertools.repeat(_FLOOD)


def endless_fields(reply: bytes) -> Iterator[bytes]:
    """Never come to the end of the head."""
    yield f"HTTP/1.1 {_status(reply)} \r\n".encode()
    yield from itertools.repeat(b"X-Evil: EVIL\r\n" * 1000)


def endless_interim(_: bytes) -> Iterator[bytes]:
    """Say for ever that the reply will come."""
    yield from itertools.repeat(b"HTTP/1.1 103 EVIL\r\nLink: EVIL\r\n\r\n" * 100)


def trickled_head(reply: bytes) -> Iterator[bytes | float]:
    """Send the head byte by byte, with a field that does not end."""
    for byte in itertools.chain(reply[:40], itertools.repeat(ord("E"))):
        yield bytes([byte])
        yield _TRICKLE


def trickled_body(reply: bytes) -> Iterator[bytes | float]:
    """Send the body byte by byte: in a quarter of an hour it would be there."""
    yield reply[:-REPLY_BODY_SIZE]
    for byte in _body(reply):
        yield bytes([byte])
        yield _TRICKLE


def trickled_chunks(reply: bytes) -> Iterator[bytes | float]:
    """Send the body in chunks of a byte."""
    yield _chunked_head(reply)
    for byte in _body(reply):
        yield b"1\r\n" + bytes([byte]) + b"\r\n"
        yield _TRICKLE


def endless_chunks(reply: bytes) -> Iterator[bytes]:
    """Never come to the last chunk."""
    yield _chunked_head(reply)
    yield from itertools.repeat(b"%x\r\n" % len(_FLOOD) + _FLOOD + b"\r\n")


def endless_chunk_size(reply: bytes) -> Iterator[bytes]:
    """Never come to the end of what may follow the size of a chunk."""
    yield _chunked_head(reply) + b"1;EVIL="
    yield from itertools.repeat(_FLOOD)


def impossible_chunk(reply: bytes) -> Iterator[bytes]:
    """Give a chunk a size that is none."""
    yield _chunked_head(reply) + b"-1\r\n" + _body(reply)


def _chunked_head(reply: bytes) -> bytes:
    return f"HTTP/1.1 {_status(reply)} \r\n{_type(BUCKET_TYPE)}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


# About everything else that HTTP has


def compressed(reply: bytes) -> Iterator[bytes]:
    """Compress the body."""
    squeezed = gzip.compress(_body(reply))
    yield _head(_status(reply), _type(BUCKET_TYPE), "Content-Encoding: gzip", size=len(squeezed)) + squeezed


def bomb(reply: bytes) -> Iterator[bytes]:
    """Send a body of the right size that would be 16 MiB large if somebody unpacked it."""
    squeezed = gzip.compress(bytes(2**24))[:REPLY_BODY_SIZE].ljust(REPLY_BODY_SIZE, b"\0")
    yield _head(_status(reply), _type(BUCKET_TYPE), "Content-Encoding: gzip") + squeezed


def redirect(status: int) -> Lie:
    """Send the client elsewhere, with a body of the right size."""

    def lie(reply: bytes) -> Iterator[bytes]:
        yield _head(status, f"Location: {ELSEWHERE}", f"Refresh: 0; url={ELSEWHERE}", _type(BUCKET_TYPE)) + _body(
            reply
        )

    return lie


def wants_a_password(status: int) -> Lie:
    """Ask who it is, with a body of the right size."""

    def lie(reply: bytes) -> Iterator[bytes]:
        asks = (f'{name}-Authenticate: Basic realm="EVIL"' for name in ("WWW", "Proxy"))
        yield _head(status, *asks, _type(BUCKET_TYPE)) + _body(reply)

    return lie


def upgrade(_: bytes) -> Iterator[bytes]:
    """Change to another protocol, and go on in that."""
    yield b"HTTP/1.1 101 EVIL\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + _FLOOD


def another_status(reply: bytes) -> Iterator[bytes]:
    """Have the status of the reply to the other request."""
    yield reply.replace(b" 201 ", b" 200 ", 1) if b" 201 " in reply[:13] else reply.replace(b" 200 ", b" 201 ", 1)


def no_status(reply: bytes) -> Iterator[bytes]:
    """Answer as in HTTP/0.9: with the body and nothing else."""
    yield _body(reply)


def escapes_for_a_status(_: bytes) -> Iterator[bytes]:
    """Answer with what a terminal acts on where the status should stand."""
    yield f"HTTP/1.1 {CLEAR_SCREEN}\r\n{CLEAR_SCREEN}: EVIL\r\n\r\n".encode()


def another_type(media_type: str) -> Lie:
    """Say that the body is something else."""

    def lie(reply: bytes) -> Iterator[bytes]:
        yield _head(_status(reply), _type(media_type)) + _body(reply)

    return lie


def two_lengths(reply: bytes) -> Iterator[bytes]:
    """Say two lengths."""
    yield _head(_status(reply), _type(BUCKET_TYPE), "Content-Length: 5") + _body(reply)


def length_and_chunks(reply: bytes) -> Iterator[bytes]:
    """Say a length, and that the body is in chunks."""
    chunks = b"%x\r\n" % REPLY_BODY_SIZE + _body(reply) + b"\r\n0\r\n\r\n"
    yield _head(_status(reply), _type(BUCKET_TYPE), "Transfer-Encoding: chunked") + chunks


def another_length(size: object) -> Lie:
    """Say a length that is none."""

    def lie(reply: bytes) -> Iterator[bytes]:
        yield _head(_status(reply), _type(BUCKET_TYPE), size=size) + _body(reply)

    return lie


def fields(number: int) -> Lie:
    """Have so many fields more than it should, cookies among them."""

    def lie(reply: bytes) -> Iterator[bytes]:
        more = [f"Set-Cookie: evil{n}=EVIL{n}; Path=/" if n % 2 else f"X-Evil-{n}: EVIL" for n in range(number)]
        yield _head(_status(reply), _type(BUCKET_TYPE), *more) + _body(reply)

    return lie


def a_word_more(reply: bytes) -> Iterator[bytes]:
    """Go on after the end of a good reply, with another."""
    yield reply + _head(302, f"Location: {ELSEWHERE}") + _body(reply)


# About what was wrong


def problem(document: object, status: int = 400) -> Lie:
    """Report a problem, as this document says it."""

    def lie(_: bytes) -> Iterator[bytes]:
        body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
        yield _head(status, _type(PROBLEM_TYPE)) + body.ljust(REPLY_BODY_SIZE)[:REPLY_BODY_SIZE]

    return lie


def refuses(known: Problem) -> Lie:
    """Report one of the problems of the protocol, in words of its own."""
    return problem(
        {"type": known.type, "title": CLEAR_SCREEN, "detail": CLEAR_SCREEN, "status": known.status}, known.status
    )
