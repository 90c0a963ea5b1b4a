"""Checking an authorization as a server does that remembers nothing (ours does, see its ``Doorkeeper``)."""

from __future__ import annotations

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.wire.crypto import agreed_box_key
from onion_rdv.smp.wire.keys import Kind, PrivateKey, PublicKey
from onion_rdv.smp.wire.transmissions import Transmission, is_authenticated, is_signed


def is_authorized(transmission: Transmission, session_id: bytes, key: PublicKey, session_key: PrivateKey) -> bool:
    """Check, as a server, an authorization against the key that is known for the queue.

    ``session_key`` is the X25519 key whose public half was in this connection's hello.
    """
    if key.kind is Kind.ED25519:
        return is_signed(transmission, session_id, key)
    try:
        box_key = agreed_box_key(session_key.raw, key.raw, "a queue's key")
    except MalformedBlock:
        return False
    return is_authenticated(transmission, session_id, box_key)
