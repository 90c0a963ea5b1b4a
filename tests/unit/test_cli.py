"""The command line: help, settings, exit codes, what goes where, and what is never shown."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from command_line import COMMAND, environment, no_surprise, onion_rdv
from socks_proxy import RecordingSocks
from terminal import at_a_terminal
from test_client import KEY, LINK, PASSPHRASE, FakeServer

from onion_rdv import errors
from onion_rdv.cli.main import COMMANDS, main
from onion_rdv.cli.usage import USAGE
from onion_rdv.protocol import BUCKET_LINK_SIZE, SALT_SIZE, Invite, encode_onion_address

ADDRESS = encode_onion_address(KEY)
OTHER_ADDRESS = encode_onion_address(bytes(32))
INVITE = Invite(KEY, 80, bytes(BUCKET_LINK_SIZE), bytes(SALT_SIZE))
OPEN_INVITE = Invite(KEY, 80, bytes(BUCKET_LINK_SIZE), bytes(SALT_SIZE), PASSPHRASE)


# Help


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
async def test_the_first_screen(arguments: list[str], tmp_path: Path) -> None:
    result = await onion_rdv(*arguments, env=environment(tmp_path))
    assert (result.code, result.stdout, result.stderr) == (0, USAGE, "")


def test_the_first_screen_names_every_command_and_exit_code() -> None:
    words = USAGE.split()
    assert all(command in words for command in COMMANDS)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.RdvError)}
    assert all(f"{code} " in USAGE for code in codes)
    assert "config.toml" in USAGE
    assert "ONION_RDV_" in USAGE


def test_the_first_screen_and_the_version_import_nothing_slow() -> None:
    for argument in ("--help", "--version"):
        watched = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "onion_rdv", argument],
            capture_output=True,
            text=True,
            check=True,
        )
        imported = {line.rpartition("|")[2].strip() for line in watched.stderr.splitlines()}
        assert not imported & {"click", "asyncio", "aiohttp", "stem", "nacl", "argon2"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_on_one_screen(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_ONION_RDV_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(("typed", "offered"), [("", "offer"), ("off", "offer"), ("offer --on", "--one-channel")])
async def test_completion_completes(typed: str, offered: str, tmp_path: Path) -> None:
    words = f"onion-rdv {typed}"
    env = environment(
        tmp_path,
        _ONION_RDV_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(max(1, len(words.split()) - (not words.endswith(" ")))),
    )
    assert f"plain,{offered}" in (await onion_rdv(env=env)).stdout.splitlines()


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nonsense"], 2, "no such command"),
        (["offre"], 2, "there is no such command; did you mean offer?"),
        (["auth", "lst"], 2, "there is no such command; did you mean list?"),
        (["offer", "--nonsense"], 2, "no such option"),
        (["offer", "--srever", ADDRESS], 2, "there is no such option; did you mean --server"),
        (["info", "rdv://", "correct", "horse"], 2, "there are more arguments than this command takes"),
        (["backup"], 2, "missing argument 'FILE'"),
        (["offer", "--words"], 2, "option '--words' requires an argument"),
        (["accept", "--probe", "perhaps"], 2, "invalid value for '--probe': it is not one of 'yes', 'no', 'require'"),
        (["offer", "--words", "many"], 2, "invalid value for '--words': it is not a valid integer range"),
        (["offer", "--words", "13"], 2, "invalid value for '--words': it is not in the range 3<=x<=12"),
        (["offer", "--timeout", "inf"], 2, "invalid value for '--timeout': it is not in the range 1<=x<=86400"),
        (["doctor", "--timeout", "1e308"], 2, "invalid value for '--timeout': it is not in the range 1<=x<=86400"),
        (["accept", "--timeout", "nan"], 2, "invalid value for '--timeout': it is not in the range 1<=x<=86400"),
        (["serve", "--request-timeout", "nan"], 2, "'--request-timeout': it is not in the range 1<=x<=3600"),
        (["serve", "--torrc", "none"], 2, "invalid value for '--torrc': it does not exist"),
        (["serve", "--torrc", "."], 2, "invalid value for '--torrc': it is a directory"),
        (["offer", LINK], 2, "no rendezvous server is named"),
        (["offer", LINK, "--server", "example.org"], 2, "not a v3 onion address"),
        (["offer", LINK, "--server", ADDRESS, "--words", "1"], 2, "--words"),
        (["offer", "x" * 207, "--server", ADDRESS], 2, "207 bytes, and 206"),
        (["offer", "-", "--passphrase-file", "-", "--server", ADDRESS], 2, "cannot both come from stdin"),
        (["offer", LINK, "--server", ADDRESS, "--passphrase-file", "/nonexistent"], 2, "passphrase file"),
        (["offer", LINK, "--server", ADDRESS, "--socks", "tor.example:9050"], 2, "not the address of a SOCKS port"),
        (["offer", LINK, "--server", ADDRESS, "--socks", "127.0.0.1:1"], 3, "not tor's SOCKS port"),
        (["accept", str(INVITE)[:-1]], 2, "not a whole invite"),
        (["accept", str(INVITE)], 2, "there is no passphrase"),
        (["accept", str(OPEN_INVITE), "--socks", "127.0.0.1:1"], 3, "not tor's SOCKS port"),
        (["accept", "-", "--passphrase-file", "-"], 2, "cannot both come from stdin"),
        (["info", "rdv://nonsense"], 2, "not a whole invite"),
    ],
)
async def test_exit_codes_and_messages(arguments: list[str], code: int, says: str, tmp_path: Path) -> None:
    result = await onion_rdv(*arguments, env=environment(tmp_path))
    assert result.code == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[-2].startswith("onion-rdv: ")
    assert says in lines[-2]
    assert lines[-1].startswith("hint: ")
    assert str(INVITE)[-58:-1] not in result.stderr
    assert LINK not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(["accept", str(OPEN_INVITE)], ""), (["offer", "-", "--server", ADDRESS], LINK), (["auth", "list"], "")],
)
async def test_a_state_directory_that_cannot_be_looked_at(arguments: list[str], stdin: str, tmp_path: Path) -> None:
    """Root may look everywhere; a name that is too long stands for what others may not look into."""
    async with RecordingSocks([]) as proxy:
        way = [] if arguments[0] == "auth" else ["--socks", str(proxy.socks)]
        env = environment(tmp_path, XDG_STATE_HOME=str(tmp_path / ("x" * 300)))
        result = await onion_rdv(*arguments, *way, env=env, stdin=stdin)
    assert result.code == 2
    assert "cannot be used (File name too long)" in result.stderr
    assert "hint: look at its owner and permissions" in result.stderr


@pytest.mark.parametrize("error", [ValueError("hush, hush"), KeyError("hush, hush"), AssertionError("hush, hush")])
def test_a_bug_shows_its_place_and_no_secret(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(Invite, "parse", fail)
    assert main(["info", str(INVITE)]) == 70
    printed = capsys.readouterr()
    assert "hush" not in printed.err + printed.out
    assert type(error).__name__ in printed.err


def test_an_interrupt_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Invite, "parse", interrupt)
    assert main(["info", str(INVITE)]) == 130
    assert "interrupted" in capsys.readouterr().err


PRINTING = [
    [],
    ["--help"],
    ["--version"],
    ["offer", "--help"],
    ["completion", "bash"],
    ["info", str(OPEN_INVITE)],
    ["info", "--json", str(OPEN_INVITE)],
]


def run_with(
    arguments: list[str],
    tmp_path: Path,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int = subprocess.PIPE,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(tmp_path, **more), stdout=stdout, stderr=stderr, text=True, check=False, timeout=60,
    )  # fmt: skip


def without_warnings(said: str) -> list[str]:
    return [line for line in said.splitlines() if "was an argument" not in line]


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_reader_that_goes_away_is_no_bug(arguments: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = run_with(arguments, tmp_path, writing)
    finally:
        os.close(writing)
    assert (result.returncode, without_warnings(result.stderr)) == (141, [])


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_full_disk_is_no_bug(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run_with(arguments, tmp_path, full)
    assert result.returncode == 2
    assert without_warnings(result.stderr) == [
        "onion-rdv: the result cannot be written to stdout: No space left on device",
        "hint: make room there, or have it written somewhere else",
    ]


def test_completion_onto_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run_with([], tmp_path, full, _ONION_RDV_COMPLETE="bash_source")
    assert (result.returncode, no_surprise(result.stderr)) == (2, True)


def test_what_cannot_be_said_keeps_nothing_from_being_done(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_with(["info", str(OPEN_INVITE)], tmp_path, subprocess.PIPE, full)
        refused = run_with(["info", "rdv://nonsense"], tmp_path, subprocess.PIPE, full)
    assert (done.returncode, "bucket link" in done.stdout) == (0, True)
    assert refused.returncode == 2


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("info <&-", 2, "the invite is empty"),
        ("accept <&-", 2, "the invite is empty"),
        ("offer --server $ADDRESS <&-", 2, "the link is empty"),
        ("offer - --server $ADDRESS <&-", 2, "the link is empty"),
        ("accept $CLOSED_INVITE <&-", 2, "there is no passphrase"),
        ("talk $CLOSED_INVITE <&-", 2, "there is no passphrase"),
        ("talk $INVITE --socks 127.0.0.1:1 <&-", 3, "not tor's SOCKS port"),
        ("info $INVITE >&-", 2, "the result cannot be written to stdout: it is closed"),
        ("talk --json $INVITE >&-", 2, "the result cannot be written to stdout: it is closed"),
        ("--help >&-", 2, "the result cannot be written to stdout: it is closed"),
        ("info $INVITE 2>&-", 0, ""),
        ("info nonsense 2>&-", 2, ""),
        ("--version <&- 2>&-", 0, ""),
        ("--version <&- >&- 2>&-", 2, ""),
    ],
)
async def test_standard_streams_that_are_closed(command: str, code: int, says: str, tmp_path: Path) -> None:
    env = environment(
        tmp_path, ADDRESS=ADDRESS, INVITE=str(OPEN_INVITE), CLOSED_INVITE=str(INVITE), COMMAND=" ".join(COMMAND)
    )
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"exec $COMMAND {command}", env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        stdout, stderr = await process.communicate()
    assert process.returncode == code, stderr
    assert says in stderr.decode()
    assert no_surprise(stderr.decode())
    assert bool(stdout) == (code == 0)


def test_another_broken_pipe_is_not_taken_for_that_of_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(Invite, "parse", fail)
    assert main(["info", str(INVITE)]) == 70
    assert "BrokenPipeError" in capsys.readouterr().err


# Settings


def write_settings(home: Path, text: str) -> None:
    directory = home / ".config" / "onion-rdv"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timeout = 5\n\nsevrer = 1\n", "line 3: unknown setting 'sevrer'"),
        ("timeout = 5\nserver = 1\n", "line 2: server has to be a list of strings"),
        ('timeout = "5"\n', "line 1: timeout has to be a number"),
        ("max_bucket_age = true\n", "line 1: max_bucket_age has to be a whole number"),
        ("[serve]\nport = 80\nsocks = 1\n", "line 3: unknown setting 'socks'"),
        ("serve = 1\n", "serve has to be a table"),
        ("timeout = \n", "line 1"),
        ('server = ["x.onion"]\n', "not a v3 onion address"),
    ],
)
async def test_settings_that_are_wrong(text: str, says: str, tmp_path: Path) -> None:
    write_settings(tmp_path, text)
    result = await onion_rdv("offer", LINK, env=environment(tmp_path))
    assert result.code == 2
    assert says in result.stderr


async def test_a_settings_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    result = await onion_rdv("info", str(INVITE), env=environment(tmp_path, ONION_RDV_CONFIG="/nonexistent"))
    assert result.code == 2
    assert "ONION_RDV_CONFIG" in result.stderr


async def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    write_settings(tmp_path, f'socks = "127.0.0.1:1"\nserver = ["{ADDRESS}"]\n')
    env = environment(tmp_path)
    assert "127.0.0.1:1," in (await onion_rdv("offer", LINK, env=env)).stderr
    env["ONION_RDV_SOCKS"] = "127.0.0.1:2"
    assert "127.0.0.1:2," in (await onion_rdv("offer", LINK, env=env)).stderr
    assert "127.0.0.1:3," in (await onion_rdv("offer", LINK, "--socks", "127.0.0.1:3", env=env)).stderr


# Offer, accept, info


async def test_what_offer_prints_where(tmp_path: Path) -> None:
    async with RecordingSocks([FakeServer()]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        result = await onion_rdv("offer", "-", "--qr", env=env, stdin=LINK + "\n")
        assert result.code == 0
        invite = Invite.parse(result.stdout.strip())
        assert invite.passphrase is None
        passphrase = next(line for line in result.stderr.splitlines() if line.startswith("passphrase: "))
        assert len(passphrase.split()) == 1 + 5
        assert "two channels" in result.stderr or "another" in result.stderr
        assert "█" in result.stderr
        assert LINK not in result.stderr
        accepted = await onion_rdv(
            "accept", str(invite), "--no-probe", "--passphrase-file", "-", env=env, stdin=passphrase.split(" ", 1)[1]
        )
        assert (accepted.code, accepted.stdout) == (0, LINK + "\n")


async def test_json_in_one_channel(tmp_path: Path) -> None:
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks))
        words = ["--server", ADDRESS, "--one-channel", "--json", "--words", "3"]
        result = await onion_rdv("offer", LINK, *words, env=env)
        assert "withstands about" in result.stderr
        said = result.json
        assert set(said) == {"invite", "passphrase", "server", "bucket", "expires_at"}
        assert said["server"] == ADDRESS
        assert said["bucket"] == {"created_at": server.bucket_id.created_at, "number": 0}
        assert said["expires_at"] == server.bucket_id.created_at + 7 * 86400
        assert Invite.parse(said["invite"]).passphrase == said["passphrase"]
        told = await onion_rdv("info", said["invite"], "--json", env=env)
        assert told.json["has_passphrase"] is True
        assert said["passphrase"].replace(" ", "-") not in told.stdout
        accepted = await onion_rdv("accept", "-", "--json", "--no-probe", env=env, stdin=said["invite"])
    assert accepted.json == {
        "link": LINK,
        "messaging_server": {
            "host": "smp.example.org",
            "kind": "one-time invitation",
            "reachable": None,
            "identity": None,
            "alive": None,
            "detail": "not asked",
        },
    }


async def test_accept_warns_of_servers_that_are_not_among_ours(tmp_path: Path) -> None:
    async with RecordingSocks([FakeServer()]) as proxy:
        env = environment(
            tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=f"{OTHER_ADDRESS} {ADDRESS}:81"
        )
        result = await onion_rdv("accept", str(OPEN_INVITE), env=env)
        assert result.code == 5
        assert "not among yours" in result.stderr
        env["ONION_RDV_SERVER"] += f" {ADDRESS}"
        assert "not among yours" not in (await onion_rdv("accept", str(OPEN_INVITE), env=env)).stderr


async def test_a_messaging_server_that_does_not_answer(tmp_path: Path) -> None:
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        invite = (await onion_rdv("offer", LINK, "--one-channel", env=env)).stdout.strip()
        for probe, code in (("yes", 0), ("require", 8)):
            proxy.answers[:] = [server, 0x05]
            result = await onion_rdv("accept", "-", "--probe", probe, env=env, stdin=invite)
            assert (result.code, result.stdout) == (code, LINK + "\n"), "the link is printed all the same"
            assert "nothing listens on that port" in result.stderr
    asked = proxy.connects[-1]
    assert (asked.host, asked.port) == ("smp.example.org", 5223)


async def test_a_wrong_passphrase(tmp_path: Path) -> None:
    async with RecordingSocks([FakeServer()]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        invite = (await onion_rdv("offer", LINK, env=env)).stdout.strip()
        secret = tmp_path / "passphrase"
        secret.write_text("something else\n")
        result = await onion_rdv("accept", invite, "--passphrase-file", str(secret), env=env)
    assert result.code == 6
    assert "something else" not in result.stderr


async def test_weak_passphrases_get_a_warning(tmp_path: Path) -> None:
    async with RecordingSocks([FakeServer()]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        result = await onion_rdv("offer", LINK, "--passphrase-file", "-", env=env, stdin="hunter2\n")
    assert result.code == 0
    assert "withstands about" in result.stderr
    assert "hunter2" not in result.stderr


async def test_prompts_do_not_echo_and_slips_are_forgiven(tmp_path: Path) -> None:
    server = FakeServer()
    async with RecordingSocks([server]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS, TERM="dumb")
        prompts = [("link: ", LINK), ("passphrase: ", PASSPHRASE), ("confirmation: ", PASSPHRASE)]
        code, screen = await at_a_terminal([*COMMAND, "offer", "--ask-passphrase"], prompts, env)
        assert code == 0
        assert LINK not in screen
        assert PASSPHRASE not in screen
        invite = next(line for line in screen.splitlines() if line.startswith("rdv://"))
        prompts = [("invite: ", invite), ("passphrase: ", "mistyped once"), ("passphrase: ", PASSPHRASE)]
        code, screen = await at_a_terminal([*COMMAND, "accept", "--no-probe"], prompts, env)
    assert code == 0
    assert invite not in screen
    assert PASSPHRASE not in screen
    assert "mistyped" not in screen
    assert LINK in screen
    assert len(server.requests) == 3


async def test_an_interrupt_at_a_prompt(tmp_path: Path) -> None:
    async with RecordingSocks([FakeServer()]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS)
        invite = (await onion_rdv("offer", "-", env=env, stdin=LINK)).stdout.strip()
        code, screen = await at_a_terminal([*COMMAND, "accept", invite], [("passphrase: ", signal.SIGINT)], env)
    assert (code, screen.splitlines()[-1]) == (130, "onion-rdv: interrupted")


def test_info_contacts_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(INVITE)]) == 0
    said = capsys.readouterr().out
    assert ADDRESS in said
    assert "another channel" in said
