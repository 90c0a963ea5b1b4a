"""Load for the embedded messaging server: messages that go round, over a few connections, as fast as they come.

Each connection has a queue of its own, sends to it and gets what comes. When a message has come, it is acknowledged
and the next one sent, both in one block: they just fit. A process of its own, as ``load.py`` is, with which it shares
its loop; it prints the same.

What comes back is opened for the first messages only, and counted after that: a server that did anything but answer
and deliver would bring no message round, and would be waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from load import Exchange, run

from onion_rdv.smp.wire import commands, replies
from onion_rdv.smp.wire.blocks import BLOCK_SIZE, Blocks, ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.crypto import agree, agreed_box_key
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.hello import ClientHello, ServerHello
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.transmissions import Authorizer, Transmission, authorizer, batches, split

if TYPE_CHECKING:
    import socket

_BODIES: Final = 16
"""Different messages that a connection sends in turn."""

_OPENED: Final = 3
"""Messages that are looked at."""

_BLOCKS: Final = 2
"""What brings a message round: word that it is kept (and the one before erased), and the message."""


def _fresh_key() -> PrivateKey:
    return PrivateKey(Kind.X25519, secrets.token_bytes(32))


class MessagingExchange:
    """One connection, its queue, and the messages that go round on it."""

    def __init__(self, fingerprint: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["smp/1"])
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._fingerprint = fingerprint
        self._received = 0
        self.answered = 0

    def begin(self, connection: socket.socket) -> None:
        """Shake hands, make a queue, and see a few messages go round."""
        self._shake_hands(connection)
        hello = ServerHello.decode(PlainBlocks().open(self._receive(connection)))
        server_key = hello.check(
            key_hash=self._fingerprint,
            session_id=self._tls.get_channel_binding("tls-unique") or b"",
            tls_certificate=self._tls.getpeercert(binary_form=True) or b"",
            now=datetime.now(UTC),
        )
        session_key = _fresh_key()
        self._send(connection, PlainBlocks().seal(ClientHello(18, self._fingerprint, session_key.public).encode()))
        self._session_id = hello.session_id
        self._blocks: Blocks = ChainedBlocks.for_client(
            hello.session_id, agree(session_key.raw, server_key.raw, "hello")
        )
        key, dh_key, sender_key = _fresh_key(), _fresh_key(), _fresh_key()
        recipient, sender = authorizer(key, server_key), authorizer(sender_key, server_key)
        new = commands.New(key.public, dh_key.public, commands.Mode.MESSAGING)
        ids = self._ask(connection, recipient, b"", new)
        assert isinstance(ids, replies.Ids)
        assert self._ask(connection, sender, ids.sender_id, commands.SenderKey(sender_key.public)) == replies.Ok()
        bodies = [os.urandom(commands.MAX_BODY_SIZE) for _ in range(_BODIES)]  # as long as every envelope is
        sends = [self._made(sender, ids.sender_id, commands.Send(body)) for body in bodies]
        ack = self._made(recipient, ids.recipient_id, commands.Ack(b""))  # of whatever was delivered
        self._rounds = [data for send in sends for data in batches([ack, send])]
        assert len(self._rounds) == _BODIES
        box_key = agreed_box_key(dh_key.raw, ids.server_key.raw, "queue")
        self._see_round(connection, batches(sends[-1:])[0], [replies.Ok()], bodies[-1], box_key)
        for body, data in list(zip(bodies, self._rounds, strict=True))[:_OPENED]:
            self._see_round(connection, data, [replies.Ok()] * 2, body, box_key)

    def _see_round(
        self, connection: socket.socket, data: bytes, answers: list[replies.Reply], body: bytes, box_key: bytes
    ) -> None:
        self._send(connection, self._blocks.seal(data))
        came = [self._hear(connection) for _ in range(_BLOCKS)]
        ((message,),) = (one for one in came if isinstance(one[0], replies.Msg))
        assert isinstance(message, replies.Msg)
        assert Delivery.open(box_key, message.message_id, message.body).body == body
        assert answers in came
        self.answered += 1

    def first(self) -> bytes:
        return self._next()

    def heard(self, data: memoryview) -> bytes:
        self._incoming.write(data)
        try:
            while True:
                self._received += len(self._tls.read(1 << 16))
        except ssl.SSLWantReadError:
            pass
        if self._received < _BLOCKS * BLOCK_SIZE:
            return b""
        if self._received > _BLOCKS * BLOCK_SIZE:
            raise ValueError("more came than was asked for")
        self._received = 0
        self.answered += 1
        return self._next()

    def _next(self) -> bytes:
        self._tls.write(self._blocks.seal(self._rounds[self.answered % _BODIES]))
        return self._outgoing.read()

    def _made(self, authorize: Authorizer, entity_id: bytes, command: commands.Command) -> bytes:
        bare = Transmission(secrets.token_bytes(24), entity_id, command.encode(18))
        return authorize(bare, self._session_id).encode(18)

    def _ask(
        self, connection: socket.socket, authorize: Authorizer, entity_id: bytes, command: commands.Command
    ) -> replies.Reply:
        self._send(connection, self._blocks.seal(batches([self._made(authorize, entity_id, command)])[0]))
        (reply,) = self._hear(connection)
        return reply

    def _hear(self, connection: socket.socket) -> list[replies.Reply]:
        parts = split(self._blocks.open(self._receive(connection)))
        return [replies.parse_reply(Transmission.decode(part, 18).command, 18) for part in parts]

    def _shake_hands(self, connection: socket.socket) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(self._outgoing.read())
                self._incoming.write(connection.recv(1 << 16))
        connection.sendall(self._outgoing.read())

    def _send(self, connection: socket.socket, block: bytes) -> None:
        self._tls.write(block)
        connection.sendall(self._outgoing.read())

    def _receive(self, connection: socket.socket) -> bytes:
        block = b""
        while len(block) < BLOCK_SIZE:
            try:
                block += self._tls.read(BLOCK_SIZE - len(block))
            except ssl.SSLWantReadError:
                received = connection.recv(1 << 16)
                if not received:
                    raise ConnectionError("the server closed a connection") from None
                self._incoming.write(received)
        return block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    fingerprint = (options.directory / "fingerprint").read_bytes()
    exchanges: list[Exchange] = [MessagingExchange(fingerprint) for _ in range(options.connections)]
    print(json.dumps(run(str(options.directory / "socket"), exchanges, options.seconds)))


if __name__ == "__main__":
    main()
