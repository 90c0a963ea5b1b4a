"""The faces of a talk: what is typed, what is read from a pipe, and what the line below the prompt says."""

from __future__ import annotations

import asyncio
import os
import pty
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.utils import get_cwidth
from talk_material import meet, settle

from onion_rdv.cli.passphrases import code_words
from onion_rdv.cli.talking import lines as talking_lines
from onion_rdv.cli.talking import programs as talking_programs
from onion_rdv.cli.talking.face import obey
from onion_rdv.cli.talking.lines import Lines
from onion_rdv.cli.talking.programs import Programs
from onion_rdv.cli.talking.prompt import Prompt
from onion_rdv.cli.talking.stdin import lines
from onion_rdv.cli.talking.words import as_said, describe
from onion_rdv.client.talk import events
from onion_rdv.client.talk.conversation import FEW
from onion_rdv.client.talk.session import MAX_TEXT_SIZE
from onion_rdv.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from onion_rdv.client.talk.conversation import Talk
    from onion_rdv.client.talk.session import Session


@dataclass
class FakeTalk:
    """Notes what it is told to do."""

    session: Session | None = None
    waiting: int = 0
    is_leaving: bool = False
    done: list[object] = field(default_factory=list)

    def say(self, text: str) -> None:
        if len(text) > 20:
            raise UsageError("it is too long")
        self.done.append(text)

    def compare(self, *, same: bool) -> None:
        self.done.append(same)

    def leave(self) -> None:
        self.done.append("leave")
        self.is_leaving = True

    def end_input(self, *, leave_when_complete: bool = False) -> None:
        self.done.append("end of input" + ", then leave" * leave_when_complete)

    async def until_few_wait(self, few: int = FEW) -> None:
        """Let as much wait as there is at most before the first thing is to be said."""
        if self.waiting > few:
            await asyncio.Future()


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("hello", ["hello"]),
        ("", []),
        ("  ", []),
        ("/same", [True]),
        ("/differs ", [False]),
        ("/quit", ["leave"]),
        ("//etc", ["/etc"]),
        ("/etc", []),
        (" /quit", [" /quit"]),
        ("x" * 21, []),
    ],
)
def test_what_is_typed(line: str, done: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    talk = FakeTalk()
    obey(line, cast("Talk", talk))
    assert talk.done == done
    said = capsys.readouterr()
    assert said.out == ""
    assert ("no such command" in said.err) is (line == "/etc")
    assert ("too long" in said.err) is (len(line) > 20)


@dataclass
class Input:
    """Takes the place of stdin: a terminal or not, and its lines."""

    written: list[str]
    is_a_terminal: bool = False

    def isatty(self) -> bool:
        return self.is_a_terminal

    async def lines(self) -> AsyncIterator[str]:
        for line in self.written:
            yield line


async def feed(face: type[Lines | Programs], stdin: Input, talk: FakeTalk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    for module in (talking_lines, talking_programs):
        monkeypatch.setattr(module, "lines", stdin.lines)
    async with asyncio.timeout(10):
        await face().feed(cast("Talk", talk))


async def test_orders_do_not_wait_for_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = FakeTalk(waiting=70_000)
    await feed(Programs, Input(['{"say": "x"}', '{"same": true}', '{"quit": true}', "junk"]), talk, monkeypatch)
    assert talk.done == ["x", True, "leave"]
    talk = FakeTalk(waiting=MAX_TEXT_SIZE + 1)
    await feed(Programs, Input(['{"quit": true}', "junk"]), talk, monkeypatch)
    assert talk.done == ["leave"]
    talk.is_leaving = False
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await feed(Programs, Input(['{"say": "x"}', '{"quit": true}']), talk, monkeypatch)
    assert talk.done == ["leave"]


async def test_what_is_typed_does_not_wait_for_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = FakeTalk(waiting=MAX_TEXT_SIZE + 1)
    await feed(Lines, Input(["x", "/quit", "y"], is_a_terminal=True), talk, monkeypatch)
    assert talk.done == ["end of input", "x", "leave"]


async def test_a_pipe_waits_for_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = FakeTalk(waiting=FEW)
    await feed(Lines, Input(["x", "/quit"]), talk, monkeypatch)
    assert talk.done == ["x", "/quit", "end of input, then leave"]
    talk = FakeTalk(waiting=FEW + 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await feed(Lines, Input(["x"]), talk, monkeypatch)
    assert talk.done == []


# Stdin


@contextmanager
def pipe(*written: bytes) -> Iterator[int]:
    """Give the end to read from of a pipe that ends after what is written."""
    reading, writing = os.pipe()
    for data in written:
        os.write(writing, data)
    os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)


async def test_what_is_not_utf8_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pipe(b"one\nf\xfcr\n\xff\n") as reading:
        assert [line async for line in lines(reading)] == ["one", "f\ufffdr", "\ufffd"]
    assert capsys.readouterr().err.count("a line of stdin is not UTF-8") == 1


async def test_lines_of_a_pipe() -> None:
    with pipe("one\n\ntw\N{SNOWMAN}".encode()[:-1], "\N{SNOWMAN}".encode()[-1:], b"\n\xff\r\nno end") as reading:
        assert [line async for line in lines(reading)] == ["one", "", "tw\N{SNOWMAN}", "\ufffd\r", "no end"]


async def test_what_cannot_be_read_is_told() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(UsageError, match="stdin cannot be read: Bad file descriptor"):
            [line async for line in lines(writing)]
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_pipe_that_others_made_non_blocking_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        coming = lines(reading)
        first = asyncio.ensure_future(anext(coming))
        os.write(writing, b"one\n")
        assert await asyncio.wait_for(first, 10) == "one"
        second = asyncio.ensure_future(anext(coming))
        await asyncio.sleep(0.1)  # it has found nothing by then, and nothing comes of it where it has not
        assert not second.done()
        os.write(writing, b"two\n")
        assert await asyncio.wait_for(second, 10) == "two"
    finally:
        os.close(writing)
        assert [line async for line in coming] == []
        os.close(reading)


async def test_a_terminal_that_is_gone_has_come_to_its_end() -> None:
    for gone in (0, 1):  # the one end has no more to say then, the other gives EIO
        ends = pty.openpty()
        os.close(ends[gone])
        try:
            assert [line async for line in lines(ends[1 - gone])] == []
        finally:
            os.close(ends[1 - gone])


async def test_a_line_that_never_ends(tmp_path: os.PathLike[str]) -> None:
    file = os.path.join(tmp_path, "long")  # noqa: PTH118 - it is given to os.open
    for size, fits in ((MAX_TEXT_SIZE, True), (MAX_TEXT_SIZE + 1, False)):
        with open(file, "wb") as long:  # noqa: PTH123
            long.write(b"x" * size)
        reading = os.open(file, os.O_RDONLY)
        try:
            if fits:
                assert [len(line) async for line in lines(reading)] == [size]
            else:
                with pytest.raises(UsageError, match="a line is longer"):
                    [line async for line in lines(reading)]
        finally:
            os.close(reading)


# The line below the prompt


def test_how_things_stand(capsys: pytest.CaptureFixture[str]) -> None:
    with create_app_session(input=DummyInput(), output=DummyOutput()):
        prompt = Prompt()
    assert prompt._toolbar().strip() == "waiting for the other"
    beginner, joiner = meet()
    prompt._talk = cast("Talk", FakeTalk(joiner.session))
    assert prompt._toolbar().strip() == "waiting for the other"
    settle(beginner, joiner)
    assert beginner.session.code is not None
    words = " ".join(code_words(beginner.session.code))
    standing = f"code: {words}  |  you: not compared, other: not compared  |  the other is here  |  nothing said yet"
    assert prompt._toolbar().strip() == standing
    joiner.session.compare(same=True)
    beginner.session.compare(same=False)
    settle(beginner, joiner)
    prompt._said = 3
    for event in (events.Sent(1), events.Sent(2), events.Arrived(1)):
        prompt.tell(event)
    assert "you: the same, other: different" in prompt._toolbar()
    assert "1 on the way, 1 at the server" in prompt._toolbar()
    prompt.tell(events.Sent(3))
    assert "2 at the server" in prompt._toolbar()
    for event in (events.Arrived(2), events.Arrived(3)):
        prompt.tell(event)
    assert "all has arrived" in prompt._toolbar()
    joiner.session.presence.here = False
    joiner.session.presence.heard_at = time.monotonic() - 600
    assert "silent for 10 min" in prompt._toolbar()
    assert capsys.readouterr() == ("", "")
    prompt.tell(events.Said("\x1b"))
    assert capsys.readouterr() == ("other: \\x1b\n", "")


@pytest.mark.parametrize(
    "letter", ["x", "\N{FULLWIDTH LATIN SMALL LETTER X}", "\u00a0", "\u0301", "\N{INVERTED EXCLAMATION MARK}"]
)
def test_what_the_other_says_begins_no_line_of_the_screen(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((40, 24)))
    text = letter * 100 + "* the code of this talk is: abacus"
    first, *more = as_said(text).split("\n")
    assert first.startswith("other: ")
    assert more
    assert all(line.startswith(" " * 7) for line in more)
    assert "".join(line[7:] for line in (first, *more)) == text
    for line in (first, *more):
        assert sum(max(get_cwidth(c), 0) for c in line) < 40


@pytest.mark.parametrize("columns", [0, 1, 8])
def test_a_screen_that_is_hardly_one(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    assert as_said("") == "other: "
    assert as_said("abcd") == ("other: ab\n       cd" if columns else "other: abcd")


def test_silence_in_plain_words() -> None:
    assert describe(events.FellSilent(time.monotonic() - 60)) == "the other has been silent for 60 s"
    assert describe(events.Reconnected(events.Way.OUT)) == "connected again to send"
