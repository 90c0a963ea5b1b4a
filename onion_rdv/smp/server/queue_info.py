"""What ``QUE`` tells a recipient of a queue: JSON, with simplexmq's names."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onion_rdv.smp.server.queues import Contents, Message, Queue
    from onion_rdv.smp.server.subscriptions import Subscription


def queue_info(queue: Queue, contents: Contents, subscription: Subscription | None) -> bytes:
    """Write it; ``subscription`` is the asking connection's own."""
    info: dict[str, Any] = {"qiSnd": queue.sender_key is not None, "qiNtf": False, "qiSize": contents.size}
    if subscription is not None:
        info["qiSub"] = {"qSubThread": "prohibitSub" if subscription.by_get else "noSub"}
        if subscription.delivered is not None:
            info["qiSub"]["qDelivered"] = _text(subscription.delivered)
    if contents.first is not None:
        info["qiMsg"] = _message(contents.first)
    return json.dumps(info, separators=(",", ":")).encode("ascii")


def _message(message: Message) -> dict[str, str]:
    return {
        "msgId": _text(message.message_id),
        "msgTs": datetime.fromtimestamp(message.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "msgType": "quota" if message.body is None else "message",
    }


def _text(message_id: bytes) -> str:
    return base64.urlsafe_b64encode(message_id).decode("ascii")
