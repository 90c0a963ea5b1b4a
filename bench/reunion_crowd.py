"""People about at once who use REUNION's own client. Runs in .venv-bench; a line on stdin says how many are about.

It answers with how many bytes went both ways until everybody had their partner's message. Then they leave; left to
itself the client goes on asking for a day.

All that REUNION's server is sent comes from REUNION's client. So that 64 people fit on one machine,

* they share one CTIDH key pair, and so one CTIDH secret, for any two would need half a second for theirs;
* passphrases are hashed without Argon2i;
* nobody pauses between rounds of requests;
* of the third messages (250,000 with 64 people about, and everybody is sent them all) each looks at their partner's;
* who comes again, to another server, says the same as before.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import socket
import sys
import types
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_client: Any = importlib.import_module("rendez.vous.reunion.client")
_session: Any = importlib.import_module("rendez.vous.reunion.session")
_primitives: Any = importlib.import_module("rendez.vous.reunion.primitives")

_send_as_it_comes = _client.send_http

_MESSAGE_SIZE = 96
_THIRD_SIZE = 64
"""Bytes of a third message: the id of who says it, and what."""

_PATIENCE = 120
"""Seconds after which nobody waits for a partner any more."""

_met: set[int] = set()
_moved: list[int] = []
"""Bytes of each piece that was sent or received."""

_me: ContextVar[int] = ContextVar("_me")


def _message(person: int) -> str:
    return f"what person {person} says"


def _passphrase(person: int) -> str:
    return f"what pair {person // 2} knows"


@functools.cache
def _begin(passphrase: bytes, message: bytes) -> Any:
    """Make a person's session; who comes again has the same."""
    session = _session.ReunionSession.create(passphrase, message)
    session.process_t2 = functools.cache(session.process_t2)
    return session


def _session_of(person: int) -> Any:
    return _begin(_passphrase(person).encode(), _message(person).encode().ljust(_MESSAGE_SIZE))


async def _send(where: str, what: list[bytes], size: int) -> AsyncIterator[bytes]:
    if where != "t3":
        async for one in _send_as_it_comes(where, what, size):
            yield one
        return
    partner = _session_of(_me.get() ^ 1).t1.id
    async for everything in _send_as_it_comes(where, what, sys.maxsize):
        at = everything.find(partner)
        while at >= 0:
            if at % _THIRD_SIZE == 0:
                yield everything[at : at + _THIRD_SIZE]
            at = everything.find(partner, at + 1)


async def _hear(result: bytes) -> None:
    """Leave with the partner's message; the client notices when it would pause."""
    me = _me.get()
    if bytes(result).rstrip().decode() != _message(me ^ 1):
        raise ValueError("that is not what the partner said")
    _met.add(me)
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def _be_about(person: int) -> None:
    _me.set(person)
    arguments = _passphrase(person), _message(person), "http", False, _PATIENCE
    await _client.launch(*arguments, mandatory_sleep=0, randomized_sleep=0)


async def _meet(people: int) -> int:
    for person in range(people):
        _session_of(person)
    _met.clear()
    _moved.clear()
    await asyncio.gather(
        *(asyncio.create_task(_be_about(person)) for person in range(people)), return_exceptions=True
    )
    if len(_met) < people:
        raise RuntimeError(f"{people - len(_met)} of {people} people did not meet their partner")
    return sum(_moved)


def _count_bytes() -> None:
    send, receive = socket.socket.sendall, socket.socket.recv_into

    def counted_send(self: socket.socket, data: Any, *rest: Any) -> None:
        _moved.append(len(data))
        send(self, data, *rest)

    def counted_receive(self: socket.socket, *arguments: Any) -> int:
        count = receive(self, *arguments)
        _moved.append(count)
        return count

    socket.socket.sendall = counted_send  # type: ignore[assignment, method-assign]
    socket.socket.recv_into = counted_receive  # type: ignore[assignment, method-assign]


def _share_keys() -> None:
    key_pair = _primitives.generate_ctidh_key_pair(bytes(32))
    secret = _primitives.ctidh1024.dh(key_pair[1], key_pair[0])
    _session.generate_ctidh_key_pair = lambda _: key_pair
    _session.ctidh1024.public_key_from_bytes = functools.cache(_session.ctidh1024.public_key_from_bytes)
    _session.ctidh1024.dh = lambda *_: secret
    _session.argon2i = lambda passphrase, salt: _primitives.Hash(passphrase + salt)


def main() -> None:
    _client.send_http = _send
    _client.store_result = _hear
    _client.ReunionSession = types.SimpleNamespace(create=_begin)
    _share_keys()
    _count_bytes()
    for line in sys.stdin:
        print(asyncio.run(_meet(int(line))), flush=True)


if __name__ == "__main__":
    main()
