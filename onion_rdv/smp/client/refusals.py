"""What the errors in a messaging server's answers mean, in plain words (docs/smp.md, "Commands")."""

from __future__ import annotations

from typing import Final

from onion_rdv.errors import MessagingRefused, QueueFull, QueueRefused

_MEANINGS: Final = {
    "BLOCK": "it cannot take apart what we send",
    "SESSION": "it says that we speak in another session",
    "CMD": "it does not know or allow such a command",
    "LARGE_MSG": "the message is too large",
    "NO_MSG": "there is no message to acknowledge",
    "STORE": "its store has a fault",
    "INTERNAL": "it has a fault inside",
    "EXPIRED": "its key has expired",
    "CRYPTO": "it cannot decrypt what we send",
    "SERVICE": "it takes us for a service",
    "PROXY": "it takes us for a proxy",
}


def refusal(code: str) -> MessagingRefused:
    """Say in plain words what the server's error means; nothing that it writes is shown but a name from SMP."""
    name = code.partition(" ")[0]
    match name:
        case "AUTH":
            return QueueRefused(code=code)
        case "BLOCKED":
            return QueueRefused("its operator has blocked it", code=code)
        case "QUOTA":
            return QueueFull(code=code)
    known = _MEANINGS.get(name)
    return MessagingRefused(known or "with an error that is not known here", code=code)
