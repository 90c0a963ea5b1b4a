"""``onion-rdv talk`` as people, pipes and programs use it; both servers are in the test's own process."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import IO, TYPE_CHECKING

import pytest
from command_line import COMMAND, environment, onion_rdv
from smp_server import Running, running
from socks_proxy import RecordingSocks
from talk_process import TalkProcess
from talking import Streams
from terminal import at_a_terminal
from test_client import KEY, LINK, FakeServer

from onion_rdv.cli.main import main
from onion_rdv.cli.passphrases import code_words
from onion_rdv.cli.talking.words import describe, duration, shown
from onion_rdv.client.talk import events
from onion_rdv.protocol import encode_onion_address
from onion_rdv.smp.wire.address import SmpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from socks_proxy import Handler

ADDRESS = encode_onion_address(KEY)
ONION = ADDRESS


class World:
    """Leads every stream to the server that its first byte is for."""

    def __init__(self, messaging: Running) -> None:
        self.rendezvous: Handler = FakeServer()
        self.messaging = Streams(messaging.path)
        self.server = messaging
        self.place = SmpServer(messaging.face.fingerprint, (ONION,))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        begun = asyncio.StreamReader()
        begun.feed_data(first)
        pump = asyncio.create_task(_pump(reader, begun))
        try:
            await (self.rendezvous if first == b"P" else self.messaging)(begun, writer)
        finally:
            pump.cancel()


async def _pump(reader: asyncio.StreamReader, into: asyncio.StreamReader) -> None:
    while data := await reader.read(65536):
        into.feed_data(data)
    into.feed_eof()


@asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[tuple[World, dict[str, str]]]:
    (tmp_path / "smp-server").mkdir()
    async with running(tmp_path / "smp-server") as server:
        made = World(server)
        async with RecordingSocks([made]) as proxy:
            env = environment(
                tmp_path,
                ONION_RDV_SOCKS=str(proxy.socks),
                ONION_RDV_SERVER=ADDRESS,
                ONION_RDV_MESSAGING_SERVER=str(made.place),
                TERM="dumb",
            )
            yield made, env


async def test_two_programs_talk(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running(env=env) as one:
        offered = await one.hears_of("invite")
        assert set(offered) == {"event", "invite", "passphrase", "server", "bucket", "expires_at"}
        (tmp_path / "invite").write_text(offered["invite"] + "\n")
        (tmp_path / "passphrase").write_text(offered["passphrase"] + "\n")
        words = ["--invite-file", str(tmp_path / "invite"), "--passphrase-file", str(tmp_path / "passphrase")]
        async with TalkProcess.running(*words, env=env) as other:
            code = (await one.hears_of("met"))["code"]
            assert (await other.hears_of("met"))["code"] == code
            assert len(code) == 3
            one.order(say="hello\n\x1b[31m")
            other.order(same=True)
            assert (await one.hears_of("compared"))["same"] is True
            assert await one.hears_of("arrived") == {"event": "arrived", "message": 1}
            assert other.heard == ["hello\n\x1b[31m"]
            one.order(quit=True)
            await other.hears_of("left")
            assert (await one.end(), await other.end()) == (0, 0)
        assert await there.server.store.count() == 0
        secrets = [offered["passphrase"], offered["invite"].rpartition("/")[2], "hello", " ".join(code)]
        assert not [secret for secret in secrets if any(secret in line for line in one.said + other.said)]


@asynccontextmanager
async def started(
    *command: str, env: dict[str, str], stdin: IO[str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command and what it starts; what is left of them at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        stdin=stdin or asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def begin(one: TalkProcess) -> str:
    return str((await one.hears_of("invite"))["invite"])


async def test_a_pipe_says_its_lines_and_leaves(tmp_path: Path) -> None:
    lines = [f"line {number} \N{SNOWMAN}" for number in range(500)] + [
        "/quit is no command here",
        "",
        "x" * 40_000,
        "no end",
    ]
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        one.end_input()  # one that only listens
        result = await onion_rdv("talk", invite, env=env, stdin="\n".join(lines))
        assert (result.code, result.stdout) == (0, ""), result.stderr
        assert "the code of this talk is" in result.stderr
        assert await one.end() == 0
        assert one.heard == lines
        assert await there.server.store.count() == 0


async def test_two_pipes_say_all_they_have(tmp_path: Path) -> None:
    async with world(tmp_path) as (_, env):
        text = tmp_path / "text"
        text.write_text("".join(f"{number}\n" for number in range(2000)))
        async with TalkProcess.running("--one-channel", env=env) as one:
            invite = await begin(one)
            one.order(say="only one word")
            one.end_input()
            with text.open() as file:
                async with started(*COMMAND, "talk", invite, env=env, stdin=file) as process, asyncio.timeout(60):
                    stdout, stderr = await process.communicate()
            assert (process.returncode, stdout) == (0, b"only one word\n"), stderr
            assert await one.end() == 0
            assert one.heard == text.read_text().splitlines()


async def test_what_people_see_and_type(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        typing = [
            ("invite: ", invite),
            ("the code of this talk is", "/sane"),
            ("there is no such command", "//etc/passwd"),
            ("hidden", "/same"),
            ("all seen", "/quit"),
        ]
        seen = asyncio.create_task(at_a_terminal([*COMMAND, "talk", "--join"], typing, env))
        await one.until(lambda: one.heard == ["/etc/passwd"])
        one.order(say="the other says that the codes are the same")
        one.order(say="\x1b[8mhidden \N{MAN}\u200d\N{WOMAN}")
        await one.hears_of("compared")
        one.order(same=True)
        one.order(say="all seen")
        code, screen = await seen
        assert code == 0
        assert invite not in screen
        assert "\nother: \\x1b[8mhidden \N{MAN}\u200d\N{WOMAN}" in screen
        assert "\nother: the other says that the codes are the same" in screen
        assert "\n* the other says that the codes are the same" in screen
        assert "\n* the other is here; the code of this talk is" in screen
        await one.hears_of("left")
        assert await one.end() == 0
        assert await there.server.store.count() == 0


async def test_a_prompt_for_people(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        env["TERM"] = "xterm"
        typing = [("the code of this talk is", "good evening"), ("and to you", "/same"), ("all seen", "\x04")]
        seen = asyncio.create_task(at_a_terminal([*COMMAND, "talk", invite], typing, env))
        await one.until(lambda: one.heard == ["good evening"])
        one.order(say="and to you")
        await one.hears_of("compared")
        one.order(say="all seen")
        code, screen = await seen
        assert code == 0, screen
        assert "other: and to you" in screen
        assert "the other is here" in screen
        assert "all has arrived" in screen
        assert await one.end() == 0
        assert await there.server.store.count() == 0


async def test_further_interrupts_give_up_at_the_prompt_too(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        noted = tmp_path / "pid"
        env["TERM"] = "xterm"
        command = ["sh", "-c", f'echo $$ > {noted}; exec "$@"', "sh", *COMMAND, "talk", "--timeout", "1000"]
        typing = [("the code of this talk is", "good evening")]
        seen = asyncio.create_task(at_a_terminal([*command, await begin(one)], typing, env))
        await one.until(lambda: one.heard == ["good evening"])
        there.messaging.is_frozen = True  # neither the goodbye nor the deletion is answered
        while not seen.done():
            with suppress(ProcessLookupError):
                os.kill(int(noted.read_text()), signal.SIGINT)
            await asyncio.sleep(0.1)
        code, screen = await seen
        assert code in {130, -signal.SIGINT}, screen  # the latter where another one comes at the very end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_while_nobody_has_come_erases_the_queue(tmp_path: Path, number: signal.Signals) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        assert await there.server.store.count() == 1
        one.process.send_signal(number)
        assert await one.end() == 0
        assert await there.server.store.count() == 0
        assert "nobody has come; the invite leads nowhere now" in one.said
        late = await onion_rdv("talk", invite, env=env, stdin="hello")
        assert late.code == 8
        assert "has left" in late.stderr


async def test_nohup(tmp_path: Path) -> None:
    nohup = ("nohup",)
    async with world(tmp_path) as (_, env), TalkProcess.running("--one-channel", env=env, wrapper=nohup) as one:
        invite = await begin(one)
        one.process.send_signal(signal.SIGHUP)
        async with TalkProcess.running(invite, env=env) as other:
            await other.hears_of("met")
            one.process.send_signal(signal.SIGHUP)
            one.order(say="still here")
            await other.hears_of("said")
            one.order(quit=True)
            assert (await one.end(), await other.end()) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_while_the_passphrase_is_asked_for(tmp_path: Path, number: signal.Signals) -> None:
    async with world(tmp_path) as (_, env), TalkProcess.running(env=env) as one:
        code, screen = await at_a_terminal([*COMMAND, "talk", await begin(one)], [("passphrase: ", number)], env)
    assert (code, screen.splitlines()[-1]) == (130, "onion-rdv: interrupted")


async def test_codes_that_differ(tmp_path: Path) -> None:
    async with world(tmp_path) as (_, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        async with TalkProcess.running(invite, env=env) as other:
            await other.hears_of("met")
            other.order(same=False)
            assert (await one.end(), await other.end()) == (7, 7)
    assert any("the two codes differ" in line for line in one.said)


@pytest.mark.parametrize(
    ("last", "more", "codes"),
    [
        ({"quit": True}, {"say": "too late"}, (0, 0)),
        ({"quit": True}, {"same": True}, (0, 0)),
        ({"quit": True}, None, (0, 0)),
        ({"same": False}, {"same": True}, (7, 7)),
    ],
)
async def test_orders_after_the_last_one(
    last: dict[str, object], more: dict[str, object] | None, codes: tuple[int, int], tmp_path: Path
) -> None:
    async with world(tmp_path) as (_, env), TalkProcess.running("--one-channel", env=env) as one:
        async with TalkProcess.running(await begin(one), env=env) as other:
            await other.hears_of("met")
            other.order(say="before")
            other.order(**last)
            if more is not None:
                other.order(**more)
            other.end_input()
            assert (await other.end(), await one.end()) == codes
        assert codes != (0, 0) or one.heard == ["before"]  # who finds the codes to differ drops what still waits


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_pipe_that_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        reading, writing = os.pipe()
        producer = await asyncio.create_subprocess_exec("yes", stdout=writing)
        os.close(writing)
        try:
            with open(reading) as lines:  # noqa: PTH123 - a pipe
                async with started(*COMMAND, "talk", invite, env=env, stdin=lines) as process, asyncio.timeout(60):
                    await one.hears_of("said", 100)
                    process.send_signal(number)
                    stdout, stderr = await process.communicate()
            assert (process.returncode, stdout) == (0, b""), stderr
            assert await one.end() == 0, one.said
            assert await there.server.store.count() == 0
        finally:
            await producer.wait()  # which nobody reads any more


async def test_an_output_that_nobody_takes_keeps_no_signal_from_ending_a_talk(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        reading, writing = os.pipe()
        other = await asyncio.create_subprocess_exec(
            *COMMAND, "talk", invite, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=writing
        )
        os.close(writing)
        try:
            for word in ("taken", "x" * 200_000, "never seen"):
                one.order(say=word)
            await one.hears_of("sent", 2)
            await one.hears_of("arrived")
            other.terminate()
            assert await asyncio.wait_for(other.wait(), 60) == 0
            assert await one.end() == 8, one.said
            assert [event["message"] for event in one.of("arrived")] == [1], "nothing else was shown"
            assert await there.server.store.count() == 0
        finally:
            os.close(reading)
            if other.returncode is None:
                other.kill()
                await other.wait()


async def test_an_output_that_is_taken_late_is_whole(tmp_path: Path) -> None:
    async with world(tmp_path) as (_, env), TalkProcess.running("--one-channel", env=env) as one:
        invite = await begin(one)
        async with started(*COMMAND, "talk", invite, env=env) as other:
            await one.hears_of("met")
            assert other.stdout is not None
            other.stdout._transport.pause_reading()  # type: ignore[attr-defined]
            one.order(say="x" * 500_000)
            one.order(say="the end")
            one.order(quit=True)
            assert await one.end() == 0, one.said
            other.stdout._transport.resume_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(60):
                stdout, stderr = await other.communicate()
            assert (other.returncode, stdout) == (0, b"x" * 500_000 + b"\nthe end\n"), stderr


async def test_nobody_reads(tmp_path: Path) -> None:
    async with world(tmp_path) as (_, env), TalkProcess.running("--one-channel", env=env) as one:
        command = f"set -o pipefail; {' '.join(COMMAND)} talk {await begin(one)} < /dev/null | head -n 1"
        async with started("bash", "-c", command, env=env) as process, asyncio.timeout(60):
            reading = asyncio.create_task(process.communicate())
            while not reading.done():
                one.order(say="a word")
                await asyncio.sleep(0.1)
            stdout, stderr = reading.result()
        assert stdout == b"a word\n"
        assert process.returncode == 141
        assert b"nobody reads" not in stderr
        assert b"Exception ignored" not in stderr
        await one.hears_of("left")


async def test_a_full_disk_ends_a_talk_with_a_goodbye(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
        command = f"{' '.join(COMMAND)} talk {await begin(one)} < /dev/null > /dev/full"
        async with started("bash", "-c", command, env=env) as process, asyncio.timeout(60):
            await one.hears_of("met")
            one.order(say="a word")
            _, stderr = await process.communicate()
            await one.hears_of("left")
        assert (process.returncode, await one.end()) == (2, 8)
        assert b"the result cannot be written to stdout: No space left on device" in stderr
        assert not one.of("arrived")
        assert await there.server.store.count() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no messaging server is named"),
        (["--messaging-server", "smp://short@host"], "not a messaging server's address"),
        (["-"], "stdin is for what you say"),
        (["--passphrase-file", "-"], "stdin is for what you say"),
        (["rdv://x", "--join"], "more than one invite"),
        (["rdv://x"], "not a whole invite"),
        (["--invite-file", "/nonexistent"], "the invite file cannot be read"),
    ],
)
async def test_wrong_usage(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = await onion_rdv("talk", *arguments, env=environment(tmp_path, ONION_RDV_SERVER=ADDRESS))
    assert (result.code, result.stdout) == (2, "")
    assert says in result.stderr


async def test_orders_that_are_none(tmp_path: Path) -> None:
    for line in ("hello", '{"say": 1}', "[]", '{"say": "\\ud800"}', "[" * 100_000):
        async with world(tmp_path) as (there, env), TalkProcess.running("--one-channel", env=env) as one:
            await begin(one)
            assert one.process.stdin is not None
            one.process.stdin.write(line.encode() + b"\n")
            assert await one.end() == 2
            assert await there.server.store.count() == 0
        (tmp_path / "smp-server").rename(tmp_path / f"smp-server-{line[:16].encode().hex()}")


async def test_links_for_an_app_and_links_to_a_talk_are_not_mixed_up(tmp_path: Path) -> None:
    async with world(tmp_path) as (there, env):
        app = await onion_rdv("offer", LINK, "--one-channel", env=env)
        result = await onion_rdv("talk", app.stdout.strip(), env=env)
        assert result.code == 2
        assert "onion-rdv accept" in result.stderr
        assert there.messaging.count == 0, "nobody was asked"
        async with TalkProcess.running("--one-channel", env=env) as one:
            invite = await begin(one)
            asked = there.messaging.count
            result = await onion_rdv("accept", invite, env=env)
            assert (result.code, result.stdout) == (2, "")
            assert "onion-rdv talk" in result.stderr
            assert there.messaging.count == asked, "nobody was asked"


# In plain words


def test_every_event_has_its_words() -> None:
    assert describe(events.Compared(same=True)) == "the other says that the codes are the same"
    assert describe(events.QueueIsFull())
    assert (
        describe(events.Disconnected(events.Way.IN, "why"))
        == "the connection to receive is gone (why); connecting again"
    )
    assert describe(events.NotErased("why"))
    assert describe(events.ThroughExit("host")) == "host is no onion service: it is reached through an exit relay"
    assert describe(events.Sent(1)) is None
    assert (duration(5), duration(600)) == ("5 s", "10 min")


def test_what_a_terminal_must_not_act_on_is_escaped() -> None:
    assert shown("a\x1b[31m\r\n\u202eb") == "a\\x1b[31m\\r\\n\\u202eb"
    assert shown("e\u0301 \N{FAMILY}\u3000x") == "e\u0301 \N{FAMILY}\u3000x"


def test_the_words_of_codes_are_effs(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_words([0, 1, 7775]) == ["abacus", "abdomen", "zoom"]
    assert main(["talk", "--help"]) == 0
    assert "double ratchet" in capsys.readouterr().out
