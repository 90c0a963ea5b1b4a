"""What things cost, in instructions beside what they cannot do without: ratios that hold on any machine.

What is counted here in instructions, ``make bench`` measures in seconds. Each bound is some way above what was
counted when it was set, so that another Python or processor keeps it, and below what an import or a step too many
makes of it.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from client_work import MEMORY_KIB, SMALL_MEMORY_KIB
from instructions import Counted, of_python

from onion_rdv.errors import NoServerHere, NoTor
from onion_rdv.protocol import (
    BUCKET_ENTRIES,
    BUCKET_SIZE,
    ONION_KEY_SIZE,
    BucketId,
    Invite,
    bucket_link,
    encode_onion_address,
)
from onion_rdv.protocol.bucket import BUCKET_ID_SIZE
from onion_rdv.protocol.exchange import (
    FETCH_PADDING_SIZE,
    FETCH_PATH,
    REPLY_BODY_SIZE,
    REQUEST_BODY_SIZE,
    STORE_PATH,
    fetch_body,
    store_body,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
INSTALLED = Path(sys.executable).with_name("onion-rdv")
KEY = bytes(range(32))
INVITE = Invite(KEY, 80, bytes(16), bytes(16), passphrase="correct horse battery staple")
NO_TOR = ("--socks", "127.0.0.1:1")

MOST_FOR_HELP = 2.2
"""Beside ``python -c pass``; what starts a script that pip installs makes 1.6 of it."""

LIBRARIES = "asyncio, click, argon2.low_level, nacl.bindings"
"""What every command needs that has work to do."""

MOST_TO_START = {
    "accept": (1.7, NoTor.exit_code, ("accept", str(INVITE), *NO_TOR)),
    "offer": (1.9, NoTor.exit_code, ("offer", "smp://a.example", "--server", encode_onion_address(KEY), *NO_TOR)),
    "serve": (1.7, 0, ("serve", "--help")),
    "status": (1.5, NoServerHere.exit_code, ("status",)),
}
"""Beside the imports of :data:`LIBRARIES`: the most, how the command ends, and the command."""

MOST_BESIDE_ARGON2ID = 0.002
MOST_FOR_TRIAL_DECRYPTION = {"64 openings": 0.15, "64 openings in C": 0.75}
MOST_FOR_REQUESTS = {"fetch": 0.6, "store": 2.4}
"""Beside a bare handler of aiohttp's that gives as many bytes."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count a bare interpreter's start."""
    return of_python(tmp_path_factory.mktemp("home"), "-c", "pass")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Count one that imports the libraries."""
    return of_python(tmp_path_factory.mktemp("home"), "-c", f"import {LIBRARIES}")


def each(count: Callable[[int], int], times: int) -> float:
    """Count something done so often and twice as often: what is done once is in both and does not count."""
    return (count(2 * times) - count(times)) / times


@pytest.mark.parametrize("command", [(INSTALLED, "--help"), (INSTALLED, "--version"), ("-m", "onion_rdv", "--help")])
def test_help_costs_little_more_than_an_interpreter(
    tmp_path: Path, bare: int, command: tuple[str | Path, ...]
) -> None:
    assert of_python(tmp_path, *command) / bare < MOST_FOR_HELP


def test_an_import_too_many_is_noticed(tmp_path: Path, bare: int) -> None:
    shutil.copytree(ROOT / "onion_rdv", tmp_path / "onion_rdv", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "onion_rdv" / "__init__.py").open("a") as file:
        file.write("\nimport asyncio\n")
    breach = of_python(tmp_path, "-m", "onion_rdv", "--help", PYTHONPATH=str(tmp_path), PYTHONSAFEPATH="1")
    assert breach / bare > MOST_FOR_HELP


@pytest.mark.parametrize("name", MOST_TO_START)
def test_commands_import_what_they_need(tmp_path: Path, libraries: int, name: str) -> None:
    most, code, command = MOST_TO_START[name]
    assert of_python(tmp_path, INSTALLED, *command, code=code) / libraries < most


def test_accept_is_its_one_argon2id_and_trial_decryption_is_cheap(tmp_path: Path) -> None:
    with Counted(tmp_path, ROOT / "tests" / "support" / "client_work.py") as work:

        def cost(piece: str) -> float:
            return each(lambda times: work.count(lambda: work.tell(f"{times} {piece}")), 4)

        # What Argon2id costs is proportional to its memory (RFC 9106, section 3.2).
        argon2id = cost("a small Argon2id") * MEMORY_KIB / SMALL_MEMORY_KIB
        assert cost("accept without Argon2id") / argon2id < MOST_BESIDE_ARGON2ID
        trial = cost("trial decryption")
        for openings, most in MOST_FOR_TRIAL_DECRYPTION.items():
            assert trial / cost(openings) < most, openings


class Asking:
    """A connection to a server, over which one request after the other is made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, path: str, body: bytes) -> bytes:
        """Make a request; gives the reply, whose last bytes are its body."""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._connection.sendall(head.encode() + body)
        reply = bytearray()
        while len(reply) < BUCKET_SIZE:  # a head alone is shorter, and a reply never comes in parts that end there
            piece = self._connection.recv(2 * BUCKET_SIZE)
            assert piece, "the server has ended the connection"
            reply += piece
        return bytes(reply)

    def store(self) -> BucketId:
        """Store something; gives the id of its bucket."""
        reply = self.ask(STORE_PATH, store_body(secrets.token_bytes(REQUEST_BODY_SIZE)))
        return BucketId.decode(reply[-REPLY_BODY_SIZE:][:BUCKET_ID_SIZE])

    def fetch(self, link: bytes) -> None:
        """Fetch a bucket."""
        self.ask(FETCH_PATH, fetch_body(link, secrets.token_bytes(FETCH_PADDING_SIZE)))


def requests(server: Counted, ask: Callable[[], object], times: int) -> float:
    """Count what a server needs for one of many equal requests."""

    def ask_often(times: int) -> None:
        for _ in range(times):
            ask()

    ask_often(times)
    return each(lambda times: server.count(lambda: ask_often(times)), times)


def test_requests_cost_a_server_little_more_than_http(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Counted(tmp_path, ROOT / "bench" / "rendezvous.py", tmp_path) as server, Asking(path) as ours:
        link = bucket_link(ours.store(), bytes(ONION_KEY_SIZE))
        # The first fetch waits until that link is computed. All stores go into this bucket: there is no other.
        fetching = requests(server, lambda: ours.fetch(link), 20)
        storing = requests(server, ours.store, (BUCKET_ENTRIES - 1) // 4)
    with Counted(tmp_path, ROOT / "bench" / "bare.py", path) as server, Asking(path) as bare:
        answering = requests(server, lambda: bare.ask("/", bytes(REQUEST_BODY_SIZE)), 20)
    assert fetching / answering < MOST_FOR_REQUESTS["fetch"]
    assert storing / answering < MOST_FOR_REQUESTS["store"]
