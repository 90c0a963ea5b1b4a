"""What the server answers to the blocks of one connection.

Where a rule is not in SMP's own document, it is what simplexmq 6.5 does. Commands that are not known here (among them
those for notifications and for forwarding to other servers) are answered as unknown ones.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from onion_rdv.errors import MalformedBlock, StoreError
from onion_rdv.smp.server.message_commands import MessageCommands
from onion_rdv.smp.server.permission import Refused, check_credentials
from onion_rdv.smp.server.queue_commands import QueueCommands
from onion_rdv.smp.wire import commands as wire
from onion_rdv.smp.wire.blocks import MAX_BLOCK_DATA
from onion_rdv.smp.wire.replies import Err, Msg, Pong, Reply, Sok
from onion_rdv.smp.wire.transmissions import Transmission, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from onion_rdv.smp.server.house import House
    from onion_rdv.smp.server.permission import Doorkeeper
    from onion_rdv.smp.server.subscriptions import Subscriber

    _Asked = tuple[Transmission, wire.Command | Err]

_NOTHING: Final = Transmission(b"", b"", b"")

_TOGETHER: Final = (wire.Ping, wire.Sub, wire.Send, wire.Ack, wire.Get, wire.Que, wire.LinkGet)
"""Commands that change nothing on which another one's permission depends: those of a block are done together."""

_LARGE: Final = (wire.Ack, wire.Get, wire.LinkGet)
"""Those of them whose answers can take a block each."""

_LARGE_AT_ONCE: Final = 4
"""How many of these are done together, since all their answers wait in memory until the client takes them."""


class _Answer(NamedTuple):
    """What is sent: the reply to a command, and the message that waited for a subscription that came alone."""

    asked: Transmission
    reply: Reply
    message: Msg | None = None


class Conversation:
    """The commands of one connection."""

    def __init__(self, house: House, version: int, doorkeeper: Doorkeeper, subscriber: Subscriber) -> None:
        self._version = version
        self.asked = 0
        """Commands of the block that is being answered; 0 where none is."""
        self._queues = queues = QueueCommands(house, doorkeeper)
        self.messages = messages = MessageCommands(house, doorkeeper, subscriber)
        self._commands: dict[type, Callable[[Transmission, Any], Awaitable[Reply]]] = {
            wire.Ping: _pong,
            wire.New: self._new,
            wire.Key: queues.key,
            wire.SenderKey: queues.sender_key,
            wire.RecipientKeys: queues.recipient_keys,
            wire.LinkGet: queues.link_get,
            wire.LinkKey: queues.link_key,
            wire.LinkSet: queues.link_set,
            wire.LinkDelete: queues.link_delete,
            wire.Send: messages.send,
            wire.Ack: messages.acknowledge,
            wire.Get: messages.get,
            wire.Que: messages.info,
            wire.Off: queues.off,
            wire.Delete: messages.delete,
        }

    async def answer(self, data: bytes, say: Callable[[list[bytes]], Awaitable[None]]) -> None:
        """Do what a block asks for, and ``say`` the replies, encoded, in the commands' order.

        ``say`` takes out of its list what fills some blocks at most, and no more is done before it returns: so it
        can wait for the client to take that. What it raises ends this.
        """
        try:
            asked = [self._read(part) for part in split(data)]
        except MalformedBlock:
            await say([self.said(_NOTHING, Err("BLOCK"))])
            return
        self.asked = len(asked)
        try:
            said: list[bytes] = []
            size = 0
            for some in _in_turn(asked):
                before = len(said)
                said += await self._do_all(some)
                size += sum(map(len, said[before:]))
                if size >= MAX_BLOCK_DATA:  # until then there may be room for the next in the same block
                    await say(said)
                    size = 0
            if said:
                await say(said)
        finally:
            self.asked = 0

    def said(self, asked: Transmission, reply: Reply) -> bytes:
        """Encode the reply to a command."""
        return Transmission(asked.correlation_id, asked.entity_id, reply.encode(self._version)).encode(self._version)

    def brought(self, entity_id: bytes, reply: Reply) -> bytes:
        """Encode what is said of a queue without being asked."""
        return Transmission(b"", entity_id, reply.encode(self._version)).encode(self._version)

    def _read(self, part: bytes) -> _Asked:
        try:
            asked = Transmission.decode(part, self._version)
        except MalformedBlock:
            return _NOTHING, Err("BLOCK")
        try:
            command = wire.parse_command(asked.command, self._version)
            check_credentials(asked, command)
        except wire.UnknownCommand:
            return asked, Err("CMD UNKNOWN")
        except MalformedBlock:
            return asked, Err("CMD SYNTAX")
        except Refused as refused:
            return asked, refused.reply
        return asked, command

    async def _do_all(self, asked: list[_Asked]) -> list[bytes]:
        if len(asked) > 1:
            answers = await asyncio.gather(*(self._do(*one) for one in asked))
        else:
            answers = [await self._do(*asked[0])]
        said = [self.said(answer.asked, answer.reply) for answer in answers]
        said += [self.brought(answer.asked.entity_id, answer.message) for answer in answers if answer.message]
        return said

    async def _do(self, asked: Transmission, command: wire.Command | Err) -> _Answer:
        try:
            if isinstance(command, Err):
                return _Answer(asked, command)
            if isinstance(command, wire.Sub):
                message = await self.messages.subscribe(asked, is_alone=self.asked == 1)
                return _Answer(asked, Sok(), message)
            return _Answer(asked, await self._commands[type(command)](asked, command))
        except Refused as refused:
            return _Answer(asked, refused.reply)
        except StoreError:  # the store itself has logged why
            return _Answer(asked, Err("STORE unavailable"))

    async def _new(self, asked: Transmission, command: wire.New) -> Reply:
        queue, reply = await self._queues.new(asked, command)
        if command.subscribe:
            self.messages.subscribe_new(queue)
        return reply


def _in_turn(asked: list[_Asked]) -> Iterator[list[_Asked]]:
    """Give the commands that are done together, one list after the other."""
    if not all(isinstance(command, _TOGETHER) for _, command in asked):
        yield from ([one] for one in asked)
        return
    some: list[_Asked] = []
    large = 0
    for one in asked:
        some.append(one)
        large += isinstance(one[1], _LARGE)
        if large == _LARGE_AT_ONCE:
            yield some
            some, large = [], 0
    if some:
        yield some


async def _pong(_asked: Transmission, _command: wire.Ping) -> Pong:
    return Pong()
