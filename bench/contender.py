"""One of our rendezvous servers as a contender: how it is started and asked."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

from harness import BENCH
from rendezvous import ONION_KEY

from onion_rdv.protocol import BucketId, bucket_link
from onion_rdv.protocol.exchange import FETCH_PATH, REPLY_BODY_SIZE, REPLY_SIZE, STORE_PATH

if TYPE_CHECKING:
    from pathlib import Path


class Rendezvous:
    """One of our servers, in a directory of its own."""

    def __init__(self, directory: Path, *, exists: bool = False, socket: str = "socket") -> None:
        self.directory = directory
        self.socket = directory / socket
        directory.mkdir(exist_ok=exists)
        self.link = b""

    def command(self, *options: str) -> list[str | Path]:
        return [sys.executable, BENCH / "rendezvous.py", self.directory, *options]

    def ask(self, path: str, body: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            reply = b""
            while len(reply) < REPLY_SIZE:
                reply += connection.recv(REPLY_SIZE)
        return reply[-REPLY_BODY_SIZE:]

    def fill(self) -> None:
        """Store something that can be fetched."""
        self.link = bucket_link(self.store(), ONION_KEY)

    def store(self) -> BucketId:
        """Store something; gives the id of its bucket."""
        return BucketId.decode(self.ask(STORE_PATH, os.urandom(256))[:12])

    def settle(self) -> None:
        """Wait until links are computed: a fetch of nothing does."""
        self.ask(FETCH_PATH, os.urandom(256))
