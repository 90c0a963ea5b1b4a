"""One connection: its hellos, its blocks one after the other, and what it is sent without asking."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Self

from onion_rdv.errors import MalformedBlock, StoreError
from onion_rdv.smp.server.conversation import Conversation
from onion_rdv.smp.server.message_commands import delivery
from onion_rdv.smp.server.permission import Doorkeeper
from onion_rdv.smp.wire.blocks import ChainedBlocks, PlainBlocks
from onion_rdv.smp.wire.crypto import agree
from onion_rdv.smp.wire.hello import ALPN, CHANNEL_BINDING, VERSIONS, ClientHello, ServerHello
from onion_rdv.smp.wire.keys import Kind, PrivateKey
from onion_rdv.smp.wire.replies import Deleted, End
from onion_rdv.smp.wire.transmissions import batches

if TYPE_CHECKING:
    from onion_rdv.smp.server.block_stream import BlockStream
    from onion_rdv.smp.server.certificates import Identity, Leaf
    from onion_rdv.smp.server.house import House
    from onion_rdv.smp.server.queues import Message, Queue
    from onion_rdv.smp.server.subscriptions import Subscription
    from onion_rdv.smp.wire.blocks import Blocks

_TRY_AGAIN = 1.0
"""Seconds after which a message that waits is looked up again where the store failed."""


class Connection:
    """A connection after the hellos; made with :meth:`greet`."""

    def __init__(
        self, stream: BlockStream, blocks: Blocks, hello: ClientHello, doorkeeper: Doorkeeper, house: House
    ) -> None:
        self._stream = stream
        self._blocks = blocks
        self._store = house.store
        self._conversation = Conversation(house, hello.version, doorkeeper, self)
        self._patience = 0.0
        self._owed: dict[bytes, tuple[Subscription, Queue]] = {}  # messages to look up when the other side takes more
        self._ended: list[bytes] = []  # what to say of subscriptions that ended
        self._paying: asyncio.Task[None] | None = None
        self.active_at = time.monotonic()

    @classmethod
    async def greet(cls, stream: BlockStream, identity: Identity, leaf: Leaf, house: House) -> Self:
        """Say who we are, and hear what the client speaks.

        Raises :class:`~onion_rdv.errors.MalformedBlock` for a client with which there is nothing to talk about.
        """
        tls = stream.tls
        session_id = tls.get_channel_binding(CHANNEL_BINDING)
        if session_id is None or tls.selected_alpn_protocol() != ALPN:
            raise MalformedBlock("it speaks something else than SMP")
        session_key = PrivateKey(Kind.X25519, secrets.token_bytes(Kind.X25519.size))
        plain = PlainBlocks()
        server_hello = ServerHello(VERSIONS, session_id, leaf.certificates, leaf.sign(session_key.public))
        stream.write(plain.seal(server_hello.encode()))
        block = await stream.read()
        if block is None:
            raise MalformedBlock("it has gone")
        hello = ClientHello.decode(plain.open(block))
        if hello.key_hash != identity.fingerprint:
            raise MalformedBlock("it means another server")
        blocks: Blocks = plain
        if hello.session_key is not None:
            agreed = agree(session_key.raw, hello.session_key.raw, "a client's hello")
            blocks = ChainedBlocks.for_server(session_id, agreed)
        return cls(stream, blocks, hello, Doorkeeper(house.store, session_id, session_key), house)

    @property
    def is_idle(self) -> bool:
        """Whether nothing can come but what the client asks for."""
        return not self._conversation.messages.has_subscriptions

    async def run(self, patience: float) -> None:
        """Answer until the client goes; it is cut off where it does not take answers for ``patience`` seconds."""
        self._patience = patience
        try:
            while (block := await self._stream.read()) is not None:
                self.active_at = time.monotonic()
                if (data := self._open(block)) is None:
                    return
                await self._conversation.answer(data, self._answer)
                if self._owed or self._ended:
                    self._pay_later()
                    await asyncio.sleep(0)  # it begins before the next block is answered
        except TimeoutError:
            self._stream.abort()
        finally:
            self._conversation.messages.close()
            if self._paying is not None:
                self._paying.cancel()
            self._stream.close()

    def _open(self, block: bytes) -> bytes | None:
        """Give what is in a block; None where the connection has to end."""
        try:
            return self._blocks.open(block)
        except MalformedBlock:
            # Whoever sends this in place of a box does not have the keys; where there are none it is malformed data.
            return None if isinstance(self._blocks, ChainedBlocks) else b""

    async def _answer(self, said: list[bytes]) -> None:
        """Say this, and wait where the other side does not take it; raises :class:`TimeoutError`."""
        self._say(said)
        said.clear()
        await self._stream.drain(self._patience)

    def _say(self, said: list[bytes]) -> None:
        for data in batches(said):
            self._stream.write(self._blocks.seal(data))

    # What is said without being asked: nothing of it between the answers to one block, nor before those to a
    # subscription that it is about.

    def bring(self, subscription: Subscription, queue: Queue, message: Message | None) -> None:
        """Send the first message that waits in a queue, now or when the other side takes more."""
        # One command alone is answered in the moment in which its subscription can be brought something.
        if message is None or self._stream.is_congested or self._conversation.asked > 1:
            self._owed[queue.recipient_id] = subscription, queue
            self._pay_later()
            return
        subscription.delivered = message.message_id
        self._say([self._conversation.brought(queue.recipient_id, delivery(queue, message))])

    def end(self, subscription: Subscription, *, deleted: bool) -> None:
        """Tell the other side that it does not get what comes to a queue any more."""
        self._conversation.messages.forget(subscription)
        self._ended.append(self._conversation.brought(subscription.recipient_id, Deleted() if deleted else End()))
        self._pay_later()

    def _pay_later(self) -> None:
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._pay())

    async def _pay(self) -> None:
        try:
            while self._owed or self._ended:
                await self._stream.drain(self._patience)
                if self._conversation.asked:
                    return  # the answers come first, and who gives them calls again
                if self._ended:
                    said, self._ended = self._ended, []
                    self._say(said)
                elif self._owed:
                    await self._look_and_bring(*self._owed.pop(next(iter(self._owed))))
        except TimeoutError:
            self._stream.abort()

    async def _look_and_bring(self, subscription: Subscription, queue: Queue) -> None:
        messages = self._conversation.messages
        if subscription.delivered is None and not subscription.is_busy and messages.is_own(subscription):
            try:
                message = await messages.next_message(subscription, queue)
            except StoreError:  # the store has logged why
                self._owed[queue.recipient_id] = subscription, queue
                await asyncio.sleep(_TRY_AGAIN)
                return
            if message is not None:
                self._say([self._conversation.brought(queue.recipient_id, delivery(queue, message))])
