"""What a person's program does itself, beside what it cannot do without.

``accept``: everything but the network, from the text of the invite to the messaging server's name, beside its one
Argon2id call. ``--help``: the whole process, beside the start of a bare interpreter.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from argon2.low_level import Type, hash_secret_raw
from rows import Measured, Row, show

from onion_rdv.client.messaging import messaging_server
from onion_rdv.client.server import RendezvousServer
from onion_rdv.protocol import (
    BUCKET_SIZE,
    ENTRY_SIZE,
    Invite,
    derive_keys,
    normalise_passphrase,
    open_bucket_with,
    seal,
)
from onion_rdv.protocol.exchange import FETCH_PADDING_SIZE, bucket_reply, fetch_body, read_bucket

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY, _SALT = bytes(range(32)), bytes(16)
_PASSPHRASE = "correct horse battery staple"
_LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.example.org"


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def accept(rounds: int = 40) -> Row:
    """Measure ``accept`` without the network; the two take turns in going first."""
    filler = secrets.token_bytes(BUCKET_SIZE - ENTRY_SIZE)
    reply = bucket_reply(
        filler[: 40 * ENTRY_SIZE] + seal(_LINK, _PASSPHRASE, _SALT, _KEY) + filler[40 * ENTRY_SIZE :]
    )
    body = reply.partition(b"\r\n\r\n")[2]
    text = str(Invite(_KEY, 80, bytes(16), _SALT))

    def own_work() -> None:
        invite = Invite.parse(text)
        str(RendezvousServer(invite.onion_key, invite.port))
        fetch_body(invite.bucket_link, secrets.token_bytes(FETCH_PADDING_SIZE))
        keys = derive_keys(normalise_passphrase(_PASSPHRASE), invite.salt, invite.onion_key)
        link = open_bucket_with(read_bucket(200, "application/octet-stream", body), keys)
        assert messaging_server(link) is not None

    def argon2id() -> None:
        hash_secret_raw(_PASSPHRASE.encode(), _SALT, 3, 65536, 4, 32, Type.ID)

    own_work()
    argon2id()
    ratios = []
    for number in range(rounds):
        times = {work: _timed(work) for work in ((own_work, argon2id) if number % 2 else (argon2id, own_work))}
        ratios.append(times[own_work] / times[argon2id])
    return Row("accept without the network / its one Argon2id call", ratios, 1.05, "low")


def start(argument: str, rounds: int = 30) -> Row:
    """Measure the start of the command line."""

    def run(*command: str) -> float:
        return _timed(lambda: subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True))

    ratios = [run("-m", "onion_rdv", argument) / run("-c", "pass") for _ in range(rounds + 1)][1:]
    return Row(f"onion-rdv {argument} / a bare interpreter's start", ratios, 4, "low")


def measure() -> Measured:
    """Measure everything here, in some twenty seconds."""
    return Measured([accept(), start("--help"), start("--version")])


if __name__ == "__main__":
    show(measure().rows)
