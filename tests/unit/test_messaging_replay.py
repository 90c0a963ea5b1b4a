"""The recorded client's side of a conversation with a real server, said to ours: its answers are of the same kinds.

The session ids and the ids that a server chooses differ, so commands are rebuilt with the recorded keys.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from smp_meanings import MEANINGS
from smp_server import Client, running
from smp_transcript import BLOCKS, CONNECTIONS, KEYS, Block

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.crypto import agreed_box_key
from onion_rdv.smp.wire.envelopes import Delivery
from onion_rdv.smp.wire.replies import Ids, Info, Lnk, Msg, Reply, parse_reply

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.smp.wire.keys import PublicKey
    from onion_rdv.smp.wire.transmissions import Transmission

CONVERSATION = [block for block in BLOCKS if block.connection.startswith("v")]
"""The connections in which both sides were the recorded client's."""


class Replay:
    """What of the recorded conversation is different this time."""

    def __init__(self) -> None:
        self.now: dict[bytes, bytes] = {}  # ids as they were recorded, and as they are now
        self.server_keys: dict[bytes, tuple[PublicKey, PublicKey]] = {}  # of queues: as recorded, and now

    def translate(self, said: bytes) -> bytes:
        for recorded, now in self.now.items():
            said = said.replace(recorded, now)
        return said

    def say(self, client: Client, block: Block) -> None:
        recorded = CONNECTIONS[block.connection].transmissions(block)
        keys = [said.key for said in MEANINGS[block.name]]
        client.say(
            *(
                client.transmission(
                    self.translate(one.command),
                    self.translate(one.entity_id),
                    None if key is None else KEYS[key],
                    one.correlation_id,
                )
                for one, key in zip(recorded, keys, strict=True)
            )
        )

    def compare(self, version: int, recorded: list[Transmission], now: list[Transmission]) -> None:
        assert len(now) == len(recorded)
        for before, after in zip(recorded, now, strict=True):
            assert after.correlation_id == before.correlation_id
            assert after.entity_id == self.translate(before.entity_id)
            self.compare_replies(
                before.entity_id, parse_reply(before.command, version), parse_reply(after.command, version)
            )

    def compare_replies(self, entity_id: bytes, before: Reply, after: Reply) -> None:
        match before, after:
            case Ids(), Ids():
                self.now[before.recipient_id] = after.recipient_id
                self.now[before.sender_id] = after.sender_id
                self.server_keys[before.recipient_id] = before.server_key, after.server_key
                assert after.mode == before.mode
                assert (after.link_id is None) == (before.link_id is None)
                if before.link_id is not None and after.link_id is not None:
                    self.now[before.link_id] = after.link_id
            case Msg(), Msg():
                self.now[before.message_id] = after.message_id
                assert len(after.body) == len(before.body)
                was, now = (self.open(entity_id, message, which) for which, message in enumerate((before, after)))
                assert replace(now, sent_at=was.sent_at) == was
            case Lnk(), Lnk():
                assert after == replace(before, sender_id=self.translate(before.sender_id))
            case Info(), Info():
                assert json.loads(after.json) == json.loads(before.json)
            case _:
                assert after == before

    def open(self, entity_id: bytes, message: Msg, which: int) -> Delivery:
        """Open a message with whatever recorded key is the recipient's."""
        server_key = self.server_keys[entity_id][which]
        for name, key in KEYS.items():
            if name.endswith("rcvDh"):
                with suppress(MalformedBlock):
                    box_key = agreed_box_key(key.raw, server_key.raw, "a test")
                    return Delivery.open(box_key, message.message_id, message.body)
        raise AssertionError("no recorded key opens it")


async def test_the_recorded_conversation_goes_the_same_way(tmp_path: Path) -> None:
    replay = Replay()
    clients: dict[str, Client] = {}
    async with running(tmp_path) as server:
        for block in CONVERSATION:
            connection = CONNECTIONS[block.connection]
            if block.connection not in clients:
                clients[block.connection] = await server.connect(
                    connection.version, boxed=connection.session_key is not None
                )
            client = clients[block.connection]
            if block.is_hello:
                continue
            if block.from_client:
                replay.say(client, block)
            else:
                replay.compare(connection.version, connection.transmissions(block), await client.hear_block())
        for client in clients.values():
            await client.close()
