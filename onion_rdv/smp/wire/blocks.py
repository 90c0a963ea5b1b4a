"""Blocks: everything travels in 16,384 bytes, most of it in a box of its own (docs/smp.md, "Blocks")."""

from __future__ import annotations

from typing import Final, Protocol, Self

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.crypto import KEY_SIZE, NONCE_SIZE, TAG_SIZE, hkdf, seal, unseal
from onion_rdv.smp.wire.encoding import pad, unpad
from onion_rdv.smp.wire.hsalsa import hsalsa20_each

BLOCK_SIZE: Final = 16_384

MAX_BLOCK_DATA: Final = BLOCK_SIZE - TAG_SIZE - 2
"""Bytes that a block in a box can carry: 16,366."""

_INIT: Final = b"SimpleXSbChainInit"
_STEP: Final = b"SimpleXSbChain"
_WHAT: Final = "a block"

_FEW_AHEAD: Final = 4
_MANY_AHEAD: Final = 64
"""How many keys are derived at once: at first, and where many are used. 64 take Python four times as long as one."""


class Blocks(Protocol):
    """Both directions of a connection; every block is sealed, and opened, once and in order."""

    def seal(self, data: bytes) -> bytes:
        """Give a block of 16,384 bytes; raises :class:`ValueError` for data that does not fit."""

    def open(self, block: bytes) -> bytes:
        """Give what is in a block; raises :class:`~onion_rdv.errors.MalformedBlock`."""


class PlainBlocks:
    """Blocks without boxes: the hellos, and everything where the client sent no key."""

    def seal(self, data: bytes) -> bytes:
        """Give a block."""
        return pad(data, BLOCK_SIZE)

    def open(self, block: bytes) -> bytes:
        """Give what is in a block."""
        return unpad(_whole(block), _WHAT)


class ChainedBlocks:
    """Blocks in boxes, each with a key that is derived from the one before and then forgotten."""

    def __init__(self, sending: bytes, receiving: bytes) -> None:
        """Begin with the 32-byte chain keys of both directions."""
        self._sending = _Chain(sending)
        self._receiving = _Chain(receiving)

    @classmethod
    def for_client(cls, session_id: bytes, agreed: bytes) -> Self:
        """Begin a client's side, from the session id and the X25519 result of the two hellos' keys."""
        from_server, from_client = _directions(session_id, agreed)
        return cls(from_client, from_server)

    @classmethod
    def for_server(cls, session_id: bytes, agreed: bytes) -> Self:
        """Begin a server's side."""
        from_server, from_client = _directions(session_id, agreed)
        return cls(from_server, from_client)

    def seal(self, data: bytes) -> bytes:
        """Give a block."""
        padded = pad(data, BLOCK_SIZE - TAG_SIZE)  # first: what does not fit must use no key
        key, nonce = self._sending.step()
        return seal(key, nonce, padded)

    def open(self, block: bytes) -> bytes:
        """Give what is in a block."""
        key, nonce = self._receiving.step()
        return unpad(unseal(key, nonce, _whole(block), _WHAT), _WHAT)


class _Chain:
    """One key and nonce after another.

    Keys are derived ahead, more at a time the more are used. That gives nothing away: whoever could read them here
    could read the chain key as well, and derive them.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._ready: list[tuple[bytes, bytes]] = []
        self._ahead = _FEW_AHEAD

    def step(self) -> tuple[bytes, bytes]:
        """Give the next key and nonce, and forget them."""
        if not self._ready:
            self._derive()
        return self._ready.pop()

    def _derive(self) -> None:
        secrets, nonces = [], []
        for _ in range(self._ahead):
            derived = hkdf(self._key, _STEP, 2 * KEY_SIZE + NONCE_SIZE)
            self._key = derived[:KEY_SIZE]
            secrets.append(derived[KEY_SIZE : 2 * KEY_SIZE])
            nonces.append(derived[2 * KEY_SIZE :])
        self._ready = list(zip(hsalsa20_each(secrets), nonces, strict=True))[::-1]
        self._ahead = min(2 * self._ahead, _MANY_AHEAD)


def _directions(session_id: bytes, agreed: bytes) -> tuple[bytes, bytes]:
    derived = hkdf(agreed, _INIT, 2 * KEY_SIZE, salt=session_id)
    return derived[:KEY_SIZE], derived[KEY_SIZE:]


def _whole(block: bytes) -> bytes:
    if len(block) != BLOCK_SIZE:
        raise MalformedBlock(f"{_WHAT}: it has {len(block)} bytes, not {BLOCK_SIZE}")
    return block
