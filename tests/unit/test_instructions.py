"""What things cost, in instructions beside what they cannot do without: ratios that hold on any machine.

What is counted here in instructions, ``make bench`` measures in seconds. Each bound is some 6 to 10 % above what was
counted when it was set (Python 3.11 to 3.13), so that another Python or processor keeps it. What is smaller than
that is not noticed.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from client_work import MEMORY_KIB, SMALL_MEMORY_KIB
from filled import make_sqlite
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
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
INSTALLED = Path(sys.executable).with_name("onion-rdv")
KEY = bytes(range(32))
INVITE = Invite(KEY, 80, bytes(16), bytes(16), passphrase="correct horse battery staple")
NO_TOR = ("--socks", "127.0.0.1:1")

MOST_FOR_HELP = 1.9
"""Beside ``python -c pass``; what starts a script that pip installs makes 1.7 of it."""

LIBRARIES = "asyncio, click, argon2.low_level, nacl.bindings"
"""What every command needs that has work to do."""

MOST_TO_START = {
    "accept": (1.42, NoTor.exit_code, ("accept", str(INVITE), *NO_TOR)),
    "offer": (1.57, NoTor.exit_code, ("offer", "smp://a.example", "--server", encode_onion_address(KEY), *NO_TOR)),
    "serve": (1.4, 0, ("serve", "--help")),
    "status": (1.33, NoServerHere.exit_code, ("status",)),
}
"""Beside the imports of :data:`LIBRARIES`: the most, how the command ends, and the command."""

MOST_BESIDE_ARGON2ID = 0.001
MOST_FOR_TRIAL_DECRYPTION = {"64 openings": 0.12, "64 openings in C": 0.63}
LOOKS = 3

_OF_PYTHON = min(sys.version_info[1], 13) - 11
MOST_FOR_REQUESTS = {
    "fetch from memory": (0.57, 0.60, 0.67)[_OF_PYTHON],
    "fetch from the file": (1.9, 2.1, 2.05)[_OF_PYTHON],
    "store": (2.3, 2.45, 2.48)[_OF_PYTHON],
}
"""Beside a bare handler of aiohttp's that gives as many bytes, in Python 3.11, 3.12 and 3.13.

They differ more than what is to be noticed: a copy of a reply is 0.07.
"""

BUCKETS = 500
"""In a server that is asked, any of which is fetched: to look at one after the other would be noticed."""


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
    """Count what a server needs for one of many equal requests.

    Of several looks that which counted least is taken: now and then a server's clocks have something done, too.
    """

    def ask_often(times: int) -> None:
        for _ in range(times):
            ask()

    ask_often(times)
    return each(lambda times: min(server.count(lambda: ask_often(times)) for _ in range(LOOKS)), times)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Count a bare handler's answer."""
    home = tmp_path_factory.mktemp("bare")
    with Counted(home, ROOT / "bench" / "bare.py", home / "socket") as server, Asking(home / "socket") as bare:
        return requests(server, lambda: bare.ask("/", bytes(REQUEST_BODY_SIZE)), 20)


@contextmanager
def rendezvous(home: Path, cached: int, **more: str) -> Iterator[tuple[Counted, Asking, Callable[[], None]]]:
    """Run a server that has many buckets, and keeps so many in memory; gives what fetches one after the other."""
    directory = home / "server"
    directory.mkdir()
    links = make_sqlite(directory, BUCKETS)
    options = ("--cached-buckets", str(cached))
    with (
        Counted(home, ROOT / "bench" / "rendezvous.py", directory, *options, **more) as server,
        Asking(directory / "socket") as ours,
    ):
        for link in links:
            ours.fetch(link)  # what may be in memory is then
        following = cycle(links[::-1])  # who goes through what is in memory comes to these last
        yield server, ours, lambda: ours.fetch(next(following))


def test_requests_cost_a_server_little_more_than_http(tmp_path: Path, answering: float) -> None:
    with rendezvous(tmp_path, 2 * BUCKETS) as (server, ours, fetch):
        assert requests(server, fetch, 20) / answering < MOST_FOR_REQUESTS["fetch from memory"]
        # All of these go into one bucket, which has room for them: no link is computed meanwhile.
        bucket_id = ours.store()
        ours.fetch(bucket_link(bucket_id, bytes(ONION_KEY_SIZE)))
        times = (BUCKET_ENTRIES - 1) // (1 + 3 * LOOKS)
        assert requests(server, ours.store, times) / answering < MOST_FOR_REQUESTS["store"]


def test_a_fetch_from_the_file_costs_one_look_into_it(tmp_path: Path, answering: float) -> None:
    with rendezvous(tmp_path, 0) as (server, _, fetch):
        assert requests(server, fetch, 20) / answering < MOST_FOR_REQUESTS["fetch from the file"]


BREACHES = {
    "two copies": ("web_connections.py", "transport.write(reply)", "transport.write(bytes(bytearray(reply)))"),
    "a search": (
        "cache.py",
        "bucket = self._buckets.get(link)",
        "bucket = next((bucket for known, bucket in self._buckets.items() if known == link), None)",
    ),
}
"""Steps too many for each fetch: in which file, what, and what it becomes."""


@pytest.mark.parametrize("breach", BREACHES)
def test_copies_or_a_search_too_many_are_noticed(tmp_path: Path, answering: float, breach: str) -> None:
    name, good, bad = BREACHES[breach]
    shutil.copytree(ROOT / "onion_rdv", tmp_path / "onion_rdv", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "onion_rdv" / "rendezvous" / name
    text = path.read_text()
    assert text.count(good) == 1
    path.write_text(text.replace(good, bad))
    with rendezvous(tmp_path, 2 * BUCKETS, PYTHONPATH=str(tmp_path), PYTHONSAFEPATH="1") as (server, _, fetch):
        assert requests(server, fetch, 20) / answering > MOST_FOR_REQUESTS["fetch from memory"]
