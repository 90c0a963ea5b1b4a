"""How two ends meet: one begins with a link, the other joins with it (docs/talk.md, "Introductions").

The beginner is bound to a nonce by the link before anybody can have seen it, and shows it to the one who answers
first, and only after they have shown theirs. So somebody in the middle, with a link of their own for the joiner, gets
one guess at making the codes equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onion_rdv.client.talk.introductions import Hello, Introduction
from onion_rdv.client.talk.keys import KEY_SIZE, NONCE_SIZE, commit, new_key, share
from onion_rdv.client.talk.session import Session
from onion_rdv.smp.wire.keys import Kind, PrivateKey

if TYPE_CHECKING:
    from onion_rdv.client.talk.keys import Random
    from onion_rdv.client.talk.link import TalkLink
    from onion_rdv.smp.wire.address import SmpServer
    from onion_rdv.smp.wire.commands import LinkData


class Beginner:
    """The end that makes the link, before anybody has come."""

    def __init__(self, random: Random) -> None:
        """Make the keys, of random bytes, for one link."""
        self.queue_key = new_key(random)
        self._random = random
        self._root = PrivateKey(Kind.ED25519, random(KEY_SIZE))
        self._talk_key: PrivateKey | None = new_key(random)
        self._talk_public = self._talk_key.public
        self._nonce = random(NONCE_SIZE)

    def introduce(self, sender_id: bytes) -> tuple[bytes, LinkData]:
        """Give the link's key, and the data to leave under the link of the queue with this sender id."""
        introduction = Introduction(
            self._root.public, self.queue_key.public, self._talk_public, commit(self._nonce), sender_id
        )
        return introduction.seal(self._root, self._random)

    def meet(self, link: TalkLink, message: bytes, now: float) -> tuple[Hello, Session]:
        """Take the first message that comes to the queue; gives where to answer, and the session.

        Can be called once: a second hello would be a second guess at the code. Raises
        :class:`~onion_rdv.errors.TalkBroken` for what is no hello.
        """
        talk_key, self._talk_key = self._talk_key, None
        if talk_key is None:
            raise ValueError("a beginner meets one joiner")
        hello = Hello.decode(message)
        shared = share(talk_key, hello.talk_key.raw, str(link), message)
        return hello, Session(shared, hello=message, nonce=self._nonce, commitment=commit(self._nonce), now=now)


class Joiner:
    """The end that has got a link, before it has answered."""

    def __init__(self, random: Random) -> None:
        """Make the keys, of random bytes, for one talk."""
        self.queue_key = new_key(random)
        self._talk_key = new_key(random)
        self._nonce = random(NONCE_SIZE)

    def meet(
        self, link: TalkLink, introduction: Introduction, sender_id: bytes, server: SmpServer, now: float
    ) -> Session:
        """Give the session that says hello, and names as the queue for answers the one with this sender id."""
        hello = Hello(self._talk_key.public, self._nonce, self.queue_key.public, sender_id, server).encode()
        shared = share(self._talk_key, introduction.talk_key.raw, str(link), hello)
        return Session(shared, hello=hello, nonce=None, commitment=introduction.commitment, now=now)
