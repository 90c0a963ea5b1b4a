"""What one introduction costs a server as more people are about at once: ours, and REUNION's.

REUNION (``rendez``) introduces two people who know one passphrase and nothing else. Everybody about answers everybody
else, so that nobody learns who was meant: its server holds and hands out messages that grow with the cube of the
crowd. Everything here is measured at the servers: what they keep processors busy, and what bytes they move, until all
people have what they came for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Self

from contender import Rendezvous
from harness import BENCH, answers, ended, exact_seconds, in_turn, server
from rendezvous import ONION_KEY
from rows import LEFT_OUT, NOT_MEASURED, Curve, Measured, Row, alone

from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.protocol import ENTRY_SIZE, BucketId, bucket_link, check_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

sys.path.append(str(BENCH.parent / "tests" / "support"))

from forwarding import close, copy
from socks_proxy import RecordingSocks  # in the place of tor, which is not what is measured

CROWDS = (2, 64, 512)
REUNION_CROWDS = (2, 8, 32, 64)
INTRODUCTIONS = 256
"""As many while a bucket is open, however many people are about at once: they share four buckets each time."""

AT_MOST_OF_REUNION = 0.1
FLAT = 1.15
_NO_REUNION_WITH_512 = (
    f"{LEFT_OUT}REUNION with 512 people about: its server would hold up to 133 million third messages, and send"
    " each of them all, 8.5 GB"
)

_REQUESTS = 3
"""A store, a fetch by who offers, and one by who accepts."""

_PORT = 5000
"""Where REUNION's server and client expect each other."""

_ENVIRONMENT = BENCH.parent / ".venv-bench" / "bin"


@dataclass(frozen=True)
class Work:
    """What one introduction cost a server."""

    milliseconds: float
    """Of a processor."""
    kib: float
    """Of requests and replies."""

    @classmethod
    def each(cls, seconds: float, moved: int, introductions: int) -> Self:
        """Share among introductions what they cost together."""
        return cls(1000 * seconds / introductions, moved / 1024 / introductions)


def ours(people: int, introductions: int = INTRODUCTIONS) -> Work:
    """Measure a new rendezvous server: people who use our client, so many of them about at once."""
    with tempfile.TemporaryDirectory() as place:
        target = Rendezvous(Path(place) / "ours")
        with server(*target.command()) as process:
            for _ in range(3):
                target.settle()  # the first requests of a process cost more than all others
            before = exact_seconds(process)
            moved = asyncio.run(_introduce(target.socket, people // 2, introductions))
            time.sleep(0.1)  # for what is left to be done when all replies are out
            return Work.each(exact_seconds(process) - before, moved, introductions)


async def _introduce(path: Path, pairs: int, introductions: int) -> int:
    """Introduce people to each other, so many pairs at once; gives how many bytes the server moved."""
    left = iter(range(introductions))
    moved: asyncio.Queue[int] = asyncio.Queue()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_unix_connection(path)
        try:
            both_ways = await asyncio.gather(copy(reader, to_there), copy(there, writer))
        finally:
            await close(to_there)
        moved.put_nowait(sum(both_ways))

    async with RecordingSocks([pass_on]) as tor:
        client = RendezvousClient(tor.socks, RendezvousServer(ONION_KEY), timeout=60)

        async def meet_in_turn() -> None:
            for _ in left:
                await _meet(client)

        await asyncio.gather(*(meet_in_turn() for _ in range(pairs)))
        return sum([await moved.get() for _ in range(_REQUESTS * introductions)])


async def _meet(client: RendezvousClient) -> None:
    """Make the requests of an offer and of an accept, and the checks; to a server, an entry is random bytes."""
    entry = secrets.token_bytes(ENTRY_SIZE)

    async def seal() -> bytes:
        return entry

    bucket_id, bucket = await client.store(seal)
    check_entry(entry, bucket, "the bucket that the server returned")
    for _ in range(_REQUESTS - 1):
        check_entry(entry, await client.fetch(_link(bucket_id)), "the bucket as others get it")


@functools.cache
def _link(bucket_id: BucketId) -> bytes:
    return bucket_link(bucket_id, ONION_KEY)


class Reunion:
    """People who use REUNION's client (``reunion_crowd.py``), and a server of REUNION's that is new each time.

    It keeps what it was ever sent, and hands out all of it, so an old one would cost more.
    """

    def __init__(self, crowd: subprocess.Popen[str]) -> None:
        self._crowd = crowd

    def measure(self, people: int) -> Work:
        """Have so many people about at once, who meet in pairs."""
        with server(_ENVIRONMENT / "reunion-server", ready=partial(answers, _PORT)) as process:
            for kind in ("t1", "t2", "t3") * 3:  # the first requests of this process cost more, too
                with contextlib.closing(HTTPConnection("127.0.0.1", _PORT, timeout=10)) as connection:
                    connection.request("GET", f"/{kind}")
                    connection.getresponse().read()
            before = exact_seconds(process)
            moved = self._have_meet(people)
            return Work.each(exact_seconds(process) - before, moved, people // 2)

    def _have_meet(self, people: int) -> int:
        assert self._crowd.stdin
        assert self._crowd.stdout
        print(people, file=self._crowd.stdin, flush=True)
        return int(self._crowd.stdout.readline())


@contextlib.contextmanager
def reunion() -> Iterator[Reunion | str]:
    """Begin with REUNION; gives what is in the way where that cannot be done."""
    if not (_ENVIRONMENT / "reunion-server").exists():
        yield "REUNION is not installed in .venv-bench"
    elif answers(_PORT):
        yield f"something answers at port {_PORT}, which REUNION's server and client have in their code"
    else:
        command = [_ENVIRONMENT / "python", BENCH / "reunion_crowd.py"]
        direct = {**os.environ, "no_proxy": "*"}
        with (
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=direct) as crowd,
            ended(crowd),
        ):
            yield Reunion(crowd)


def measure(rounds: int = 4) -> Measured:
    """Measure everything here, in a minute; gives rows, and what else there is to say."""
    contenders: dict[str, Callable[[], Work]] = {_our(people): partial(ours, people) for people in CROWDS}
    contenders[_ALONE] = partial(ours, 2, 1)
    told = []
    with reunion() as peer:
        if isinstance(peer, Reunion):
            contenders |= {_their(people): partial(peer.measure, people) for people in REUNION_CROWDS}
            told.append(_NO_REUNION_WITH_512)
        else:
            told.append(f"{NOT_MEASURED}{peer}")
        measured = in_turn(contenders, rounds)
    if alone := _ratios(measured, _ALONE, _their(CROWDS[0])):
        told.append(
            f"{_ALONE} / REUNION's, 2 people about: {statistics.median(alone):.2f}; the one Argon2id for a bucket's"
            " link, dear on purpose, is then for one introduction"
        )
    for name, work in measured.items():
        milliseconds = statistics.median(one.milliseconds for one in work)
        kib = statistics.median(one.kib for one in work)
        told.append(f"{name}: {milliseconds:.2f} ms of a processor and {kib:,.0f} KiB for one introduction")
    return Measured(list(_rows(measured)), told, [_curve(measured, *figure) for figure in _FIGURES])


_ALONE = "our server, one introduction alone in its bucket"


def _our(people: int) -> str:
    return f"our server, {people} people about"


def _their(people: int) -> str:
    return f"REUNION's server, {people} people about"


def _ratios(measured: Mapping[str, Sequence[Work]], ours: str, beside: str) -> list[float]:
    """Give the ratios of the rounds; none where there is no such peer."""
    others = measured.get(beside, ())
    return [one.milliseconds / other.milliseconds for one, other in zip(measured[ours], others, strict=False)]


def _rows(measured: Mapping[str, Sequence[Work]]) -> Iterator[Row]:
    what = f"server work for one of {INTRODUCTIONS} introductions"
    few, *crowds = CROWDS
    for people in CROWDS:
        if people in REUNION_CROWDS:
            ratios = _ratios(measured, _our(people), _their(people))
            yield Row(f"{what} / REUNION's: {people} people about", ratios, AT_MOST_OF_REUNION, "low")
    for people in crowds:
        ratios = _ratios(measured, _our(people), _our(few))
        yield Row(f"{what} / ours with {few} people about: {people} about", ratios, FLAT, "low")


def _curve(measured: Mapping[str, Sequence[Work]], name: str, y: str, figure: Callable[[Work], float]) -> Curve:
    lines = {
        who: [(people, statistics.median(map(figure, measured[named(people)]))) for people in crowds]
        for who, named, crowds in (("REUNION", _their, REUNION_CROWDS), ("onion-rdv", _our, CROWDS))
        if named(crowds[0]) in measured
    }
    return Curve(name, "What one introduction costs a server", "people about at once", y, lines, logarithmic=True)


_FIGURES: Sequence[tuple[str, str, Callable[[Work], float]]] = (
    ("introduction-work", "milliseconds of a processor", lambda work: work.milliseconds),
    ("introduction-traffic", "KiB moved", lambda work: work.kib),
)


if __name__ == "__main__":
    alone(measure)
