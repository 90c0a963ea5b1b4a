"""What others on the machine may see of a command while it runs: no memory, no core, no argument, no setting."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from canaries import Canaries, a_link, a_passphrase
from command_line import COMMAND, environment, no_surprise, onion_rdv
from socks_proxy import RecordingSocks
from test_client import KEY

from onion_rdv.protocol import BUCKET_LINK_SIZE, SALT_SIZE, Invite, encode_onion_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADDRESS = encode_onion_address(KEY)
AS_MANY = ("sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', "sh")
"""Lets a program leave a core of any size, as far as that may be allowed here."""


@pytest.fixture
def invite() -> str:
    return str(Invite(KEY, 80, os.urandom(BUCKET_LINK_SIZE), os.urandom(SALT_SIZE), a_passphrase()))


class Silence:
    """A server that takes a request and never answers."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        self.is_asked.set()
        await asyncio.Event().wait()


@asynccontextmanager
async def waiting(
    *command: str, home: Path, stdin: str = "", **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command until it waits for a server's answer, with all that it needs for that in memory."""
    silence = Silence()
    async with RecordingSocks([silence]) as proxy:
        env = environment(home, ONION_RDV_SOCKS=str(proxy.socks), ONION_RDV_SERVER=ADDRESS, **more)
        process = await asyncio.create_subprocess_exec(
            *command, env=env, cwd=home, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            process.stdin.write(stdin.encode())
            process.stdin.close()
            async with asyncio.timeout(60):
                await silence.is_asked.wait()
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize(
    ("python", "variables"),
    [
        ((), {}),
        (("-X", "dev"), {}),
        (("-X", "faulthandler"), {}),
        ((), {"PYTHONFAULTHANDLER": "1"}),
        ((), {"PYTHONDEVMODE": "1", "PYTHONTRACEMALLOC": "20"}),
    ],
    ids=str,
)
async def test_a_crash_leaves_neither_core_nor_secret(
    python: tuple[str, ...], variables: dict[str, str], tmp_path: Path
) -> None:
    canaries, link, passphrase = Canaries(), a_link(), a_passphrase()
    canaries.text("link", link)
    canaries.text("passphrase", passphrase)
    (tmp_path / "home").mkdir()
    (tmp_path / "passphrase").write_text(passphrase)
    words = [sys.executable, *python, "-m", "onion_rdv", "offer", "-", "--passphrase-file", tmp_path / "passphrase"]
    async with waiting(*AS_MANY, *map(str, words), home=tmp_path / "home", stdin=link, **variables) as process:
        process.send_signal(6)
        stdout, stderr = await process.communicate()
    assert process.returncode == -6
    assert (b"Fatal Python error: Aborted" in stderr) == bool(python or variables)
    assert not canaries.found_in(stdout + stderr)
    assert [path for path in (tmp_path / "home").iterdir() if path.name.startswith("core")] == []


def test_a_core_would_be_noticed(tmp_path: Path) -> None:
    """See that the test above would fail for another program, where this machine has cores left in directories."""
    if (
        Path("/proc/sys/kernel/core_pattern").read_text()[:1] in "|/\n"
        or not resource.getrlimit(resource.RLIMIT_CORE)[1]
    ):
        pytest.skip("this machine leaves no cores in directories")
    subprocess.run([*AS_MANY, sys.executable, "-c", "import os; os.abort()"], cwd=tmp_path, check=False)
    assert [path.name.startswith("core") for path in tmp_path.iterdir()] == [True]


def test_memory_is_closed_and_files_are_ours_alone(tmp_path: Path) -> None:
    program = (
        "import ctypes, os, pathlib, resource; from onion_rdv.cli import own_process;"
        "os.umask(0); own_process.close();"
        "pathlib.Path('file').touch(); pathlib.Path('a/b').mkdir(parents=True);"
        "print(ctypes.CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    command = [*AS_MANY, sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path, PYTHONPATH=str(Path.cwd())), capture_output=True, check=True
    )
    assert done.stdout.split() == [b"0", b"0"]  # PR_GET_DUMPABLE
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"file": 0o600, "a": 0o700, "b": 0o700}


async def test_an_argument_is_seen_no_more(tmp_path: Path, invite: str) -> None:
    canaries, link = Canaries(), a_link()
    canaries.text("link", link)
    canaries.text("invite", invite)
    for words in (("offer", link), ("accept", invite), ("talk", invite, "--plain")):
        command = [*COMMAND, *words]
        async with waiting(*command, home=tmp_path) as process:
            seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert not canaries.found_in(seen)
            assert seen.replace(b"\0", b" ").decode().split()[3:5] == [words[0], "x" * len(words[1])]
            process.terminate()
            _, stderr = await process.communicate()
        assert "others on this machine may have seen it" in stderr.decode()
        assert not canaries.found_in(stderr)


FINGERPRINT = "k" * 43
QUEUES = f"smp://{FINGERPRINT}:{{}}@queues.example"


@pytest.mark.parametrize(
    "words",
    [
        ("--messaging-server", QUEUES),
        (f"--messaging-server={QUEUES}",),
        ("--messaging-server", QUEUES, "--plain", f"--messaging-server={QUEUES}"),
    ],
    ids=len,
)
async def test_nor_is_a_password_in_an_option(words: tuple[str, ...], tmp_path: Path) -> None:
    canaries, password = Canaries(), secrets.token_urlsafe(16)
    canaries.text("password", password)
    command = [*COMMAND, "talk", *(word.format(password) for word in words)]
    async with waiting(*command, home=tmp_path) as process:
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.terminate()
        _, stderr = await process.communicate()
    assert not canaries.found_in(seen)
    hidden = [word.replace(QUEUES, "x" * len(QUEUES.format(password))) for word in words]
    assert seen.decode().split("\0")[3:-1] == ["talk", *hidden]
    assert "the password in --messaging-server was an argument: others on this machine may have seen it" in (
        stderr.decode()
    )
    assert "(set it in the settings file, or as ONION_RDV_MESSAGING_SERVER)" in stderr.decode()
    assert not canaries.found_in(stderr)


@pytest.mark.parametrize(
    "url", ["postgresql://user:{}@db.example/x", "postgresql:///x?host=db.example&pass%77ord={}"]
)
@pytest.mark.parametrize("form", [("--database", "{}"), ("--database={}",)], ids=len)
async def test_nor_that_of_a_database(form: tuple[str, ...], url: str, tmp_path: Path) -> None:
    canaries, password = Canaries(), secrets.token_urlsafe(16)
    canaries.text("password", password)
    words = [word.format(url.format(password)) for word in form]
    env = environment(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "backup", "file", *words, "--passphrase-file", "-", env=env, cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.readline(), 60)
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        _, more = await asyncio.wait_for(process.communicate(b""), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert said.startswith(b"onion-rdv: warning: the password in --database was an argument: others on this machine")
    assert said.endswith(b"(set it in the settings file, or as ONION_RDV_DATABASE)\n")
    assert not canaries.found_in(seen + said + more)
    assert b"--database" in seen


async def test_what_holds_no_password_is_left_alone(tmp_path: Path) -> None:
    address = f"smp://{FINGERPRINT}@queues.example:5224"
    async with waiting(*COMMAND, "talk", "--messaging-server", address, home=tmp_path) as process:
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.terminate()
        _, stderr = await process.communicate()
    assert address in seen.decode()
    assert "was an argument" not in stderr.decode()
    env = environment(tmp_path, ONION_RDV_MESSAGING_SERVER=QUEUES.format("password"))
    assert "was an argument: others" not in (await onion_rdv("talk", "--invite-file", "none", env=env)).stderr
    for url in ("postgresql:///x?host=/run/postgresql", "postgresql://user@db.example:5432/x"):
        told = await onion_rdv("serve", "--check-config", "--database", url, env=environment(tmp_path))
        assert told.code == 0
        assert "was an argument" not in told.stderr


@pytest.mark.parametrize(("words", "advice"), [(["info"], "leave it out"), (["talk"], "--join asks for it")])
async def test_who_types_an_argument_is_told(words: list[str], advice: str, tmp_path: Path, invite: str) -> None:
    env = environment(tmp_path, ONION_RDV_SOCKS="127.0.0.1:1")
    told = await onion_rdv(*words, invite, env=env)
    assert f"the shell's history keeps it ({advice}" in told.stderr
    assert invite.rpartition("/")[2] not in told.stderr
    (tmp_path / "invite").write_text(invite)
    more, stdin = (["-"], invite) if words == ["info"] else (["--invite-file", str(tmp_path / "invite")], "")
    assert "history" not in (await onion_rdv(*words, *more, env=env, stdin=stdin)).stderr


SECRET_OUTPUT = [
    (["offer", "--server", ADDRESS], 1),
    (["offer", "--server", ADDRESS], 2),
    (["accept"], 1),
    (["accept", "--qr"], 2),
    (["talk", "--server", ADDRESS], 1),
    (["talk", "--server", ADDRESS], 2),
    (["authorize", "alice"], 1),
]


@pytest.mark.parametrize(("words", "number"), SECRET_OUTPUT)
def test_the_journal_keeps_no_secret(words: list[str], number: int, tmp_path: Path) -> None:
    """Commands that would print one end before they have read, made or sent anything."""
    reading, writing = os.pipe()
    status = os.fstat(writing)
    env = environment(tmp_path, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}", ONION_RDV_SOCKS="127.0.0.1:1")
    outputs = {1: subprocess.PIPE, 2: subprocess.PIPE} | {number: writing}
    done = subprocess.run(
        [*COMMAND, *words], env=env, stdin=subprocess.DEVNULL, stdout=outputs[1], stderr=outputs[2], check=False
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as journal:
        said = (journal.read() + (done.stdout or b"") + (done.stderr or b"")).decode()
    assert done.returncode == 2
    assert "would be kept in the system's journal" in said
    assert no_surprise(said)
    assert list(tmp_path.iterdir()) == []
