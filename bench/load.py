"""Load for a server: over a few connections, one request after the other on each, as fast as they are answered.

A process of its own with nothing between it and its sockets but epoll, so that it is not what is measured. The clock
starts when every connection has had its first answer.

Prints one JSON object: ``answered`` requests in ``seconds``, the ``median_ms`` and ``slow_ms`` (99 of 100 are faster)
that they took, and what part of the time this process was ``busy``, which says how near it came to being the limit
itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import select
import socket
import statistics
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BODIES = 64
"""Different bodies that a connection sends in turn."""


class Exchange(Protocol):
    """One connection's side of the conversation."""

    answered: int

    def begin(self, connection: socket.socket) -> None:
        """Do over the connection whatever comes before."""

    def first(self) -> bytes:
        """Give what to send at the beginning."""

    def heard(self, data: memoryview) -> bytes:
        """Take what came; give what to send next when an answer is complete."""


def _posts(path: str, starts_of_bodies: Sequence[bytes] = (b"",)) -> list[bytes]:
    """Give requests with bodies of 256 bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n".encode()
    starts = random.choices(starts_of_bodies, k=_BODIES)
    return [head + start + os.urandom(256 - len(start)) for start in starts]


_GOOD = b"HTTP/1.1 20"


class HttpExchange:
    """Requests in turn; every reply must be a good one, and as long as the first: a refusal is as long, too."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._reply_size = 0
        self._received = 0
        self.answered = 0

    def begin(self, connection: socket.socket) -> None:
        """Nothing has to come before."""

    def first(self) -> bytes:
        return self._requests[0]

    def heard(self, data: memoryview) -> bytes:
        if not self._reply_size:
            self._reply_size = _reply_size(bytes(data))
        elif not self._received and data[: len(_GOOD)] != _GOOD:
            raise ValueError(f"not a good reply: {bytes(data[:64])!r}")
        self._received += len(data)
        if self._received < self._reply_size:
            return b""
        if self._received > self._reply_size:
            raise ValueError("more came than one reply")
        self._received = 0
        self.answered += 1
        return self._requests[self.answered % len(self._requests)]


def _reply_size(start: bytes) -> int:
    head, end, _ = start.partition(b"\r\n\r\n")
    if not end or not head.startswith(_GOOD):
        raise ValueError(f"not a good reply: {head!r}")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + len(end) + int(value)
    raise ValueError("a reply without its length")


class MailboxExchange:
    """``add`` to a mailbox of its own over a WebSocket (RFC 6455); answered when the mailbox echoes the message.

    The acknowledgement that the server sends at once does not say that anything was stored.
    """

    def __init__(self) -> None:
        # 256 bytes as the protocol carries them: in hexadecimal.
        self._adds = [
            _frame({"type": "add", "phase": str(number), "body": secrets.token_hex(256)}) for number in range(_BODIES)
        ]
        self._buffer = b""
        self._upgraded = False
        self.answered = 0

    def begin(self, connection: socket.socket) -> None:
        """Nothing has to come before."""

    def first(self) -> bytes:
        key = "AAAAAAAAAAAAAAAAAAAAAA=="
        return (
            "GET /v1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def heard(self, data: memoryview) -> bytes:
        self._buffer += data
        if not self._upgraded:
            head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return b""
            if not head.startswith(b"HTTP/1.1 101"):
                raise ValueError(f"no WebSocket: {head!r}")
            self._upgraded = True
            side = secrets.token_hex(5)
            bind = _frame({"type": "bind", "appid": "bench", "side": side})
            return bind + _frame({"type": "open", "mailbox": secrets.token_hex(8)}) + self._adds[0]
        answer = b""
        while (message := self._next_message()) is not None:
            if b'"type": "error"' in message:
                raise ValueError(message.decode())
            if b'"type": "message"' in message:
                self.answered += 1
                answer = self._adds[self.answered % _BODIES]
        return answer

    def _next_message(self) -> bytes | None:
        start, size = 2, self._buffer[1] if len(self._buffer) > 1 else 0
        if size == 126 and len(self._buffer) >= 4:
            start, size = 4, int.from_bytes(self._buffer[2:4])
        if len(self._buffer) < start + size or len(self._buffer) < start:
            return None
        message, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        return message


def _frame(message: dict[str, str]) -> bytes:
    payload = json.dumps(message).encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    mask = bytes(4)  # clients must mask; zeroes are a mask that costs nothing here, and the server the same as any
    return b"\x81" + size + mask + payload


class Conversations:
    """All connections to one server."""

    def __init__(self, address: str | tuple[str, int], exchanges: Sequence[Exchange]) -> None:
        self._connections: dict[int, tuple[socket.socket, Exchange]] = {}
        self._poll = select.epoll()
        self._sent: dict[int, float] = {}
        self._buffer = memoryview(bytearray(1 << 18))
        self.times: list[float] = []
        """How long each answer took."""
        for exchange in exchanges:
            connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            connection.connect(address)
            if isinstance(address, tuple):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchange.begin(connection)
            self._connections[connection.fileno()] = connection, exchange
            self._poll.register(connection, select.EPOLLIN)

    def begin(self) -> None:
        """Ask for the first time on all of them, and hear at least one answer on each."""
        for descriptor, (connection, exchange) in self._connections.items():
            self._sent[descriptor] = time.perf_counter()
            connection.sendall(exchange.first())
        while not all(exchange.answered for _, exchange in self._connections.values()):
            self.go_on()
        self.times.clear()

    def go_on(self) -> float:
        """Hear some answers, and ask again; gives the time."""
        now = time.perf_counter()
        for descriptor, _ in self._poll.poll(1):
            connection, exchange = self._connections[descriptor]
            size = connection.recv_into(self._buffer)
            if not size:
                raise ConnectionError("the server closed a connection")
            if following := exchange.heard(self._buffer[:size]):
                now = time.perf_counter()
                self.times.append(now - self._sent[descriptor])
                self._sent[descriptor] = now
                connection.sendall(following)
        return now

    def close(self) -> None:
        for connection, _ in self._connections.values():
            connection.close()
        self._poll.close()


@contextlib.contextmanager
def on_one_processor() -> Iterator[None]:
    """Stay on one processor while the block runs.

    Else the system likes to put who asks where the server runs that has just woken it up, and each waits for the
    other, which no client on another machine does.
    """
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(all_of_them)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


@on_one_processor()
def run(address: str | tuple[str, int], exchanges: Sequence[Exchange], seconds: float) -> dict[str, float]:
    """Let all converse with the server at ``address`` for so long, and until there was an answer for each of them.

    A server that is slower than that answers in bursts, and a short look would see one or none.
    """
    conversations = Conversations(address, exchanges)
    conversations.begin()
    used, start = time.process_time(), time.perf_counter()
    now = start
    while now < start + seconds or len(conversations.times) < len(exchanges):
        now = conversations.go_on()
    used = time.process_time() - used
    conversations.close()
    times = sorted(conversations.times)
    return {
        "answered": len(times),
        "seconds": now - start,
        "median_ms": statistics.median(times) * 1000,
        "slow_ms": times[len(times) * 99 // 100] * 1000,
        "busy": used / (now - start),
    }


def new_exchanges(kind: str, count: int, links: Sequence[bytes] = ()) -> list[Exchange]:
    """Make so many connections' sides of a conversation of this kind; ``links`` are what is fetched."""
    exchanges: list[Exchange] = []
    for _ in range(count):
        match kind:
            case "store":
                exchanges.append(HttpExchange(_posts("/v1/store")))
            case "fetch":
                exchanges.append(HttpExchange(_posts("/v1/fetch", links or [b""])))
            case "get":
                exchanges.append(HttpExchange([b"GET /bucket HTTP/1.1\r\nHost: x\r\n\r\n"]))
            case _:
                exchanges.append(MailboxExchange())
    return exchanges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["store", "fetch", "get", "mailbox"])
    parser.add_argument("address", help="path of a Unix socket, or a port on 127.0.0.1")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--links", type=bytes.fromhex, nargs="*", help="what to fetch, in hexadecimal; any of them")
    options = parser.parse_args()
    address = ("127.0.0.1", int(options.address)) if options.address.isdigit() else options.address
    exchanges = new_exchanges(options.kind, options.connections, options.links or ())
    print(json.dumps(run(address, exchanges, options.seconds)))


if __name__ == "__main__":
    main()
