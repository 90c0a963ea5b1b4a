"""What an initiator checks before handing anything out (docs/protocol.md, "Initiator")."""

from __future__ import annotations

from dataclasses import dataclass

from onion_rdv.errors import ServerCheckFailed
from onion_rdv.protocol.bucket import WINDOW, BucketId, entries


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a bucket may be from what an honest server would open; times in seconds."""

    max_bucket_age: int = WINDOW
    max_clock_skew: int = 120
    max_bucket_number: int = 15


def check_bucket_id(bucket_id: BucketId, now: float, limits: Limits) -> None:
    """Check the time and the number of a bucket against our own clock (Unix seconds).

    A server that wanted a bucket for each client would have to use up times and numbers, and would be noticed
    here. Raises :class:`~onion_rdv.errors.ServerCheckFailed` with what was seen and what is allowed.
    """
    age = now - bucket_id.created_at
    if age > limits.max_bucket_age + limits.max_clock_skew:
        raise ServerCheckFailed(
            f"its bucket was opened {round(age)} seconds ago, and {limits.max_bucket_age} are allowed",
            hint="check this machine's clock; if it is right, do not use this server for now",
        )
    if age < -limits.max_clock_skew:
        raise ServerCheckFailed(
            f"its bucket was opened {round(-age)} seconds in the future, and {limits.max_clock_skew} are allowed",
            hint="check this machine's clock; if it is right, do not use this server for now",
        )
    if bucket_id.number > limits.max_bucket_number:
        raise ServerCheckFailed(
            f"its bucket is number {bucket_id.number} of one second,"
            f" and {limits.max_bucket_number} is the highest allowed"
        )


def check_entry(entry: bytes, bucket: bytes, where: str) -> None:
    """Check that an entry is in a bucket exactly once; ``where`` says for the message which bucket this is.

    Raises :class:`~onion_rdv.errors.ServerCheckFailed`.
    """
    times = entries(bucket).count(entry)
    if times == 0:
        raise ServerCheckFailed(f"our entry is missing from {where}")
    if times > 1:
        raise ServerCheckFailed(f"our entry is {times} times in {where}")
