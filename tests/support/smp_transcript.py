"""A recorded conversation with a real messaging server, block by block, with every key that the client had.

The server was simplexmq 6.5.2. ``tests/data/smp_transcript.json.gz`` has what each block carries, and of the 16,384
bytes on the wire their SHA-256 and the first forty. The keys were made for the recording and are good for nothing
else. The connections whose names begin with ``hs-`` or ``py-`` deal with links and messages of SimpleX's own client.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from onion_rdv.protocol.short_link import ShortLink, is_short_link
from onion_rdv.smp.wire.blocks import Blocks, ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.crypto import agree
from onion_rdv.smp.wire.hello import ClientHello, ServerHello
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey
from onion_rdv.smp.wire.replies import Ids, Reply, parse_reply
from onion_rdv.smp.wire.transmissions import Transmission, split

_FILE: Final = Path(__file__).parents[1] / "data" / "smp_transcript.json.gz"
_HELLOS: Final = ("server-handshake", "client-handshake")

THEN: Final = datetime(2026, 11, 25, tzinfo=UTC)
"""A time at which the recorded certificates are valid."""


@dataclass(frozen=True)
class Block:
    """One block: what it carries, and what is known of it on the wire."""

    connection: str
    step: str
    from_client: bool
    data: bytes = field(repr=False)
    sha256: str = field(repr=False)
    head: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Name it, uniquely, as test ids do."""
        return f"{self.connection}:{self.step}"

    @property
    def is_hello(self) -> bool:
        """Say whether a connection began with it."""
        return self.step in _HELLOS


@dataclass(frozen=True)
class Connection:
    """One connection, and its blocks in their order."""

    name: str
    blocks: tuple[Block, ...] = field(repr=False)

    def block(self, step: str) -> Block:
        """Find a block."""
        return next(block for block in self.blocks if block.step == step)

    @cached_property
    def server_hello(self) -> ServerHello:
        return ServerHello.decode(self.block("server-handshake").data)

    @cached_property
    def client_hello(self) -> ClientHello:
        return ClientHello.decode(self.block("client-handshake").data)

    @property
    def version(self) -> int:
        return self.client_hello.version

    @property
    def session_id(self) -> bytes:
        """Give the session id that TLS had for the client."""
        return bytes.fromhex(_RECORDED_KEYS[f"{self.name}.sessionId"])

    @property
    def session_key(self) -> PrivateKey | None:
        """Give the client's key for the blocks, if it had one."""
        return KEYS.get(f"{self.name}.session")

    @cached_property
    def server_key(self) -> PublicKey:
        """Give the key in the server's hello, checked."""
        hello = self.server_hello
        return hello.check(
            key_hash=KEY_HASH, session_id=self.session_id, tls_certificate=hello.certificates[0], now=THEN
        )

    def client_side(self) -> Blocks:
        """Begin the client's side of the blocks again."""
        if self.session_key is None:
            return PlainBlocks()
        return ChainedBlocks.for_client(self.session_id, agree(self.session_key.raw, self.server_key.raw, "a test"))

    def server_side(self) -> Blocks:
        """Begin the server's side again: its key is not known, but what both keys agree on is."""
        if self.session_key is None:
            return PlainBlocks()
        return ChainedBlocks.for_server(self.session_id, agree(self.session_key.raw, self.server_key.raw, "a test"))

    def seal(self, block: Block, data: bytes) -> bytes:
        """Put data into the block on the wire that had this place in the conversation."""
        if block.is_hello:
            return PlainBlocks().seal(data)
        side = self.client_side() if block.from_client else self.server_side()
        for _ in range(self._place(block)):
            side.seal(b"")
        return side.seal(data)

    def open(self, block: Block, on_the_wire: bytes) -> bytes:
        """Take what the other side gets out of the block that had this place."""
        side = self.server_side() if block.from_client else self.client_side()
        for before in self._before(block):
            side.open(self.seal(before, before.data))
        return side.open(on_the_wire)

    def transmissions(self, block: Block) -> list[Transmission]:
        """Take a block's data apart."""
        return [Transmission.decode(part, self.version) for part in split(block.data)]

    def replies(self, step: str) -> list[Reply]:
        """Parse what the server said in a step."""
        said = self.transmissions(self.block(step))
        return [parse_reply(transmission.command, self.version) for transmission in said]

    def ids(self, step: str) -> Ids:
        """Give what the server answered to the ``NEW`` of a step."""
        (reply,) = self.replies(f"{step}-resp")
        assert isinstance(reply, Ids)
        return reply

    def _before(self, block: Block) -> list[Block]:
        same_way = [other for other in self.blocks if other.from_client == block.from_client and not other.is_hello]
        return same_way[: same_way.index(block)]

    def _place(self, block: Block) -> int:
        return len(self._before(block))


def _blocks(recorded: list[dict[str, Any]]) -> list[Block]:
    made: list[Block] = []
    for one in recorded:
        connection, step = one["step"].split(":", 1)
        times = sum(block.connection == connection and block.step.partition("#")[0] == step for block in made)
        made.append(
            Block(
                connection=connection,
                step=f"{step}#{times + 1}" if times else step,
                from_client=one["direction"] == "send",
                data=bytes.fromhex(one["hex"]),
                sha256=one["wire_sha256"],
                head=bytes.fromhex(one["wire_head"]),
            )
        )
    return made


_RECORDED: Final[dict[str, Any]] = json.loads(gzip.decompress(_FILE.read_bytes()))
_INTEROP: Final[dict[str, Any]] = _RECORDED["interop"]
_RECORDED_KEYS: Final[dict[str, Any]] = {**_RECORDED["keys"], **_INTEROP["keys"]}

KEY_HASH: Final = base64.urlsafe_b64decode(_RECORDED["keyhash"] + "=")
"""The server's identity."""

KEYS: Final = {
    name: PrivateKey(Kind[key["kind"].upper()], bytes.fromhex(key["private"]))
    for name, key in _RECORDED_KEYS.items()
    if not name.endswith(".sessionId")
}
"""The client's keys by their recorded names."""

PUBLIC_HEX: Final = {name: _RECORDED_KEYS[name]["public"] for name in KEYS}
"""What the recording says of their public halves."""

BLOCKS: Final = [*_blocks(_RECORDED["blocks"]), *_blocks(_INTEROP["blocks"])]
"""All blocks of all connections, in their order."""

CONNECTIONS: Final = {
    name: Connection(name, tuple(block for block in BLOCKS if block.connection == name))
    for name in dict.fromkeys(block.connection for block in BLOCKS)
}
"""The connections by their names."""

URIS: Final[dict[str, str]] = {
    name: uri if isinstance(uri, str) else uri[0] for name, uri in {**_RECORDED["uris"], **_INTEROP["uris"]}.items()
}
"""Links as they were passed on, by their recorded names; some are in SimpleX's long form."""

LINKS: Final = {name: ShortLink.parse(uri) for name, uri in URIS.items() if is_short_link(uri)}
"""The short ones, taken apart."""
