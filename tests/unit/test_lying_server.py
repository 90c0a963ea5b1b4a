"""Real commands against rendezvous servers that lie (tests/support/lying_server.py).

Whatever a server says: no command follows it anywhere, hangs past its time-out, fills memory, shows anything that the
server wrote, or prints something that a person could send on.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import lying_server as lies
import pytest
from command_line import Result, environment, onion_rdv
from lying_server import LyingServer, honest
from smp_server import running
from socks_proxy import RecordingSocks
from talk_process import TalkProcess
from test_cli_talk import World
from test_client import KEY, LINK, PASSPHRASE, FakeServer

from onion_rdv.protocol import BUCKET_SIZE, ENTRY_SIZE, BucketId, Invite, encode_onion_address, seal
from onion_rdv.protocol.exchange import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lying_server import Lie

ADDRESS = encode_onion_address(KEY)
PLACE = 17
SALT = bytes(range(16))

SHORT = 2.0
"""Seconds that a command gives a request that it is kept waiting for."""
MUCH_LATER = 30.0
"""Seconds after its time-out in which a command has ended, whatever else a busy machine does."""

IN_LITTLE_MEMORY = ("prlimit", f"--as={2**30}")
"""What runs a command that may have no more than 1 GiB of addresses, most of them never used."""

READ_AT_ONCE = 2**19
"""Bytes that a command and its machine take of a reply before it has looked at that: three times what was seen."""
READ_IN_ALL = 2 * 2**20
"""Bytes that they take of what could still become a reply; a command gives up behind the first half of these."""

BROKEN, LOST, UNCHECKED = 7, 4, 6


@dataclass(frozen=True)
class Case:
    """A lie, how a command ends that hears it, and a piece of what it says then."""

    name: str
    lie: Lie
    code: int
    says: str

    @property
    def timeout(self) -> float:
        """Seconds that the command gives a request: few where the lie is meant to hold it up."""
        return SHORT if self.code == LOST else 60.0


NOT_HTTP = "it is not HTTP as the protocol wants it"
TOO_LONG = "it is far longer than any reply"
NO_REPLY = f"no reply within {SHORT:.0f} seconds"

ABOUT_THE_BUCKET = [
    Case("too old", lies.opened(3600 + 120 + 60), BROKEN, "seconds ago, and 3600 are allowed"),
    Case("too new", lies.opened(-120 - 600), BROKEN, "in the future, and 120 are"),
    Case("the first second", lies.with_id(BucketId(0, 0)), BROKEN, "seconds ago, and 3600 are allowed"),
    Case("the last second", lies.with_id(BucketId(2**64 - 1, 2**32 - 1)), BROKEN, "in the future, and 120 are"),
    Case("number too high", lies.opened(0, 16), BROKEN, "number 16 of one second, and 15 is the highest"),
    Case("another id", lies.opened(30), BROKEN, "does not find the bucket that it says it put our entry in"),
    Case("entry missing", lies.entry_missing(PLACE), BROKEN, "our entry is missing from"),
    Case("entry changed", lies.entry_changed(PLACE), BROKEN, "our entry is missing from"),
    Case("entry doubled", lies.entry_doubled(PLACE), BROKEN, "our entry is 2 times in"),
    Case("entry between two places", lies.entry_shifted, BROKEN, "our entry is missing from"),
]
"""Only who has left an entry can tell."""

READ_BACK = [
    Case("another bucket", lies.another_bucket, BROKEN, "our entry is missing from the bucket as others get it"),
    Case("entry doubled", lies.entry_doubled(PLACE), BROKEN, "2 times in the bucket as others get it"),
    Case("entry changed", lies.entry_changed(PLACE), BROKEN, "missing from the bucket as others get it"),
    Case("unknown", lies.unknown, BROKEN, "does not find the bucket"),
    Case("an id", lies.with_an_id, BROKEN, "does not begin with twelve zero bytes"),
    Case("cut short", lies.cut_short, LOST, "the stream ended in the middle of the reply"),
    Case("redirected", lies.redirect(307), BROKEN, "its status is 307"),
    Case("silence", lies.silence, LOST, NO_REPLY),
    Case("busy", lies.refuses(Problem.BUSY), LOST, "cannot serve that now"),
]
"""What an initiator meets when it looks whether others get the bucket."""

ABOUT_ANYTHING = [
    Case("silence", lies.silence, LOST, NO_REPLY),
    Case("cut short", lies.cut_short, LOST, "the stream ended in the middle of the reply"),
    Case("a byte long", lies.a_byte_long, BROKEN, "its body has 16397 bytes, not 16396"),
    Case("endless", lies.endless, BROKEN, "its body has 16397 bytes"),
    Case("trickled chunks", lies.trickled_chunks, LOST, NO_REPLY),
    Case("compressed", lies.compressed, BROKEN, "its body has 16397 bytes"),
    Case("redirected for now", lies.redirect(302), BROKEN, "its status is 302"),
    Case("HTTP/0.9", lies.no_status, BROKEN, NOT_HTTP),
    Case("HTML", lies.another_type("text/html"), BROKEN, "its media type is not one of the protocol"),
    Case("an unknown problem", lies.problem({"type": lies.CLEAR_SCREEN, "status": 400}), BROKEN, "status 400"),
    Case("always busy", lies.refuses(Problem.BUSY), LOST, "cannot serve that now"),
]
"""Whoever asks for anything can meet these."""

ABOUT_ANYTHING_ELSE = [
    Case("hung up", lies.hang_up, LOST, "the stream ended before there was a reply"),
    Case("a byte short", lies.a_byte_short, BROKEN, "its body has 16395 bytes, not 16396"),
    Case("empty", lies.empty, BROKEN, "its body has 0 bytes"),
    Case("endless status line", lies.endless_line, BROKEN, NOT_HTTP),
    Case("endless field", lies.endless_field, BROKEN, NOT_HTTP),
    Case("endless fields", lies.endless_fields, BROKEN, NOT_HTTP),
    Case("endless interim replies", lies.endless_interim, BROKEN, TOO_LONG),
    Case("trickled head", lies.trickled_head, LOST, NO_REPLY),
    Case("trickled body", lies.trickled_body, LOST, NO_REPLY),
    Case("endless chunks", lies.endless_chunks, BROKEN, "its body has 16397 bytes"),
    Case("endless chunk size", lies.endless_chunk_size, BROKEN, TOO_LONG),
    Case("impossible chunk", lies.impossible_chunk, BROKEN, NOT_HTTP),
    Case("asked for a password", lies.wants_a_password(401), BROKEN, "its status is 401"),
    Case("another protocol", lies.upgrade, BROKEN, "its body has 0 bytes"),
    Case("another status", lies.another_status, BROKEN, "its status is 20"),
    Case("escapes for a status", lies.escapes_for_a_status, BROKEN, NOT_HTTP),
    Case("no type that is one", lies.another_type("EVIL\x1b[2J"), BROKEN, "media type"),
    Case("a type for nothing", lies.another_type("application/problem+json"), BROKEN, "not a problem document"),
    Case("two lengths", lies.two_lengths, BROKEN, NOT_HTTP),
    Case("a length and chunks", lies.length_and_chunks, BROKEN, NOT_HTTP),
    Case("a negative length", lies.another_length(-1), BROKEN, NOT_HTTP),
    Case("a length that is none", lies.another_length("9" * 4000), BROKEN, NOT_HTTP),
    Case("1000 fields", lies.fields(1000), BROKEN, NOT_HTTP),
    Case("no document", lies.problem(None), BROKEN, "it is not a problem document"),
    Case("a deep document", lies.problem(b"[" * 16396), BROKEN, "it is not a problem document"),
    Case("a wrong refusal", lies.refuses(Problem.METHOD), BROKEN, "it refuses a request that is right"),
]
"""So are these, which are taken as the first are whoever asks."""

HARMLESS = [
    Case("100 fields and cookies", lies.fields(100), 0, ""),
    Case("a word more", lies.a_word_more, 0, ""),
]
"""What says something needless, and is not listened to."""

ABOUT_A_FETCH = [
    Case("another bucket", lies.another_bucket, UNCHECKED, "no entry opens"),
    Case("entry changed", lies.entry_changed(PLACE), UNCHECKED, "no entry opens"),
    Case("unknown", lies.unknown, 5, "does not know that bucket"),
    Case("a bomb", lies.bomb, BROKEN, "does not begin with twelve zero bytes"),
]
"""What an acceptor alone meets: who comes with an invite cannot tell a bucket that was exchanged from a slip."""


@cache
def entry() -> bytes:
    return seal(LINK, PASSPHRASE, SALT, KEY)


def with_an_entry(server: FakeServer) -> Invite:
    """Have an entry wait at a server; gives the invite."""
    start = PLACE * ENTRY_SIZE
    server.bucket = server.bucket[:start] + entry() + server.bucket[start + ENTRY_SIZE :]
    assert len(server.bucket) == BUCKET_SIZE
    return Invite(KEY, 80, server.link, SALT, PASSPHRASE)


class Meeting:
    """A command that meets a liar."""

    def __init__(self, directory: Path, stored: Lie = honest, fetched: Lie = honest, timeout: float = 60.0) -> None:
        self.honest = FakeServer(place=PLACE)
        self.liar = LyingServer(self.honest.reply, stored, fetched)
        self.proxy = RecordingSocks([self.liar])
        self._directory = directory
        self._timeout = timeout

    @property
    def env(self) -> dict[str, str]:
        settings = {"SOCKS": str(self.proxy.socks), "SERVER": ADDRESS, "TIMEOUT": str(self._timeout)}
        return environment(self._directory, **{f"ONION_RDV_{name}": value for name, value in settings.items()})

    async def run(self, *arguments: str, stdin: str = "") -> Result:
        async with self.proxy:
            began = time.monotonic()
            result = await onion_rdv(*arguments, env=self.env, stdin=stdin, wrapper=IN_LITTLE_MEMORY)
            assert time.monotonic() - began < self._timeout + MUCH_LATER
        self.check(result.stderr)
        return result

    def check(self, told: str) -> None:
        """See that the command went nowhere else, remembered nothing, and shows nothing that it was told."""
        assert {request.host for request in self.proxy.connects} <= {ADDRESS}
        assert len({request.credentials for request in self.proxy.connects}) == len(self.proxy.connects)
        for request in self.liar.requests:
            fields = request[: request.index(b"\r\n\r\n")].split(b"\r\n")[1:]
            assert [field.partition(b":")[0] for field in fields] == [b"Host", b"Content-Type", b"Content-Length"]
        assert all(character.isprintable() or character == "\n" for character in told)
        assert self.liar.taken < (READ_IN_ALL if TOO_LONG in told else READ_AT_ONCE)
        assert "EVIL" not in told.upper()
        assert len(told) < 2000


def check_words(told: str, case: Case) -> None:
    assert case.says in told or (case.code == LOST and NO_REPLY in told), (
        "on a busy machine anything can take too long"
    )


def check_failure(result: Result, case: Case) -> None:
    assert (result.code, result.stdout) == (case.code, ""), result.stderr
    check_words(result.stderr, case)
    assert "\nhint: " in result.stderr
    assert "rdv://" not in result.stderr
    assert "passphrase:" not in result.stderr


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@named(ABOUT_THE_BUCKET + ABOUT_ANYTHING + ABOUT_ANYTHING_ELSE)
async def test_offer_meets_a_lie_when_it_stores(case: Case, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, stored=case.lie, timeout=case.timeout)
    check_failure(await meeting.run("offer", "-", "--one-channel", stdin=LINK), case)


@named(READ_BACK)
async def test_offer_meets_a_lie_when_it_reads_back(case: Case, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, fetched=case.lie, timeout=case.timeout)
    check_failure(await meeting.run("offer", "-", "--json", stdin=LINK), case)
    assert len(meeting.liar.requests) == 2 or case.code == LOST


@named(ABOUT_A_FETCH + ABOUT_ANYTHING)
async def test_accept_meets_a_lie(case: Case, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, fetched=case.lie, timeout=case.timeout)
    invite = with_an_entry(meeting.honest)
    check_failure(await meeting.run("accept", "-", "--no-probe", stdin=str(invite)), case)


@named(HARMLESS)
async def test_what_is_needless_changes_nothing(case: Case, tmp_path: Path) -> None:
    offering = Meeting(tmp_path, stored=case.lie, fetched=case.lie)
    offered = await offering.run("offer", "-", "--one-channel", stdin=LINK)
    assert offered.code == 0, offered.stderr
    assert Invite.parse(offered.stdout.strip()).bucket_link == offering.honest.link
    accepting = Meeting(tmp_path, fetched=case.lie)
    accepted = await accepting.run("accept", "-", "--no-probe", stdin=str(with_an_entry(accepting.honest)))
    assert (accepted.code, accepted.stdout) == (0, LINK + "\n"), accepted.stderr


async def test_an_invite_that_was_turned_to_a_server_of_somebody_elses_opens_nothing(tmp_path: Path) -> None:
    """They have fetched the bucket, and hold it ready for whoever comes; they learn that somebody comes."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    meeting = Meeting(tmp_path)
    turned = replace(with_an_entry(meeting.honest), onion_key=KEY[::-1], passphrase=None)
    async with meeting.proxy:
        words = ("accept", "-", "--no-probe", "--passphrase-file", str(passphrase))
        result = await onion_rdv(*words, env=meeting.env, stdin=str(turned))
    assert (result.code, result.stdout) == (UNCHECKED, "")
    assert "no entry opens" in result.stderr
    assert [request.host for request in meeting.proxy.connects] == [turned.onion_address]
    (request,) = meeting.liar.requests
    assert turned.bucket_link in request, "it is asked for what they know already"
    assert PASSPHRASE.encode() not in request


@named(
    [
        Case("any bucket", lies.another_bucket, BROKEN, "gives a bucket for any link"),
        Case("silence", lies.silence, LOST, NO_REPLY),
        Case("redirected", lies.redirect(301), BROKEN, "its status is 301"),
        Case("escapes", lies.problem({"type": lies.CLEAR_SCREEN, "status": 404}, 404), BROKEN, "status 404"),
        Case("endless", lies.endless, BROKEN, "its body has 16397 bytes"),
        Case("trickled chunks", lies.trickled_chunks, LOST, NO_REPLY),
    ]
)
async def test_the_doctor_meets_a_lie(case: Case, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, fetched=case.lie, timeout=case.timeout)
    result = await meeting.run("doctor")
    meeting.check(result.stdout)
    assert result.code == case.code
    check_words(next(line for line in result.stdout.splitlines() if line.startswith("FAIL  server")), case)


# A talk's beginning


@asynccontextmanager
async def talking(meeting: Meeting, directory: Path) -> AsyncIterator[tuple[World, dict[str, str]]]:
    """Have a messaging server that is honest beside the rendezvous server that lies."""
    (directory / "smp-server").mkdir()
    async with running(directory / "smp-server") as messaging:
        there = World(messaging)
        there.rendezvous = meeting.liar
        meeting.proxy.answers[:] = [there]
        async with meeting.proxy:
            yield there, meeting.env | {"ONION_RDV_MESSAGING_SERVER": str(there.place)}
        assert await messaging.store.count() == 0, "what was begun is erased"


@named(
    [
        Case("too old", lies.opened(7200), BROKEN, "seconds ago"),
        Case("entry missing", lies.entry_missing(PLACE), BROKEN, "our entry is missing"),
        Case("redirected", lies.redirect(302), BROKEN, "its status is 302"),
        Case("escapes", lies.refuses(Problem.LENGTH), BROKEN, "it refuses a request that is right"),
    ]
)
async def test_a_talk_that_begins_at_a_liar(case: Case, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, stored=case.lie, timeout=case.timeout)
    async with talking(meeting, tmp_path) as (_, env), TalkProcess.running("--one-channel", env=env) as talk:
        assert await talk.end() == case.code
    assert talk.happened == []
    told = "\n".join(talk.said)
    meeting.check(told)
    assert case.says in told
    assert "rdv://" not in told


@named(
    [
        Case("entry changed", lies.entry_changed(PLACE), UNCHECKED, "no entry opens"),
        Case("endless", lies.endless, BROKEN, "its body has 16397 bytes"),
    ]
)
async def test_a_talk_that_is_joined_at_a_liar(case: Case, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, fetched=case.lie, timeout=case.timeout)
    invite = with_an_entry(meeting.honest)
    async with talking(meeting, tmp_path) as (there, env):
        result = await onion_rdv("talk", str(invite), "--plain", env=env, stdin="hello\n")
    meeting.check(result.stderr)
    check_failure(result, case)
    assert there.messaging.count == 0, "nobody else was asked"
