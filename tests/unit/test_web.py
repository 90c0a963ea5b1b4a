"""The web face, spoken to byte by byte over its Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from stores import ONION_KEY, an_entry, until

from onion_rdv.errors import SettingsError, StoreError
from onion_rdv.protocol import BUCKET_SIZE, BucketId, bucket_link
from onion_rdv.protocol.bucket import entries
from onion_rdv.protocol.exchange import REPLY_SIZE, Problem, problem_reply
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.tor.onion_service.listening import UnixListener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from onion_rdv.rendezvous.kept import Kept
    from onion_rdv.rendezvous.store import StoredBucket, Totals

BODY = bytes(256)


def post(path: str = "/v1/fetch", body: bytes = BODY, more: str = "", version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Client:
    """A connection that says what it is told to and hears what there is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_unix_connection(self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> bytes:
        """Hear one reply."""
        async with asyncio.timeout(20):
            return await self.reader.readexactly(REPLY_SIZE)

    async def rest(self) -> bytes:
        """Hear all there is until the server closes."""
        heard = b""
        async with asyncio.timeout(20):
            # A socket that is closed with something unread in it ends in a reset, after all that was written.
            with contextlib.suppress(ConnectionResetError):
                while data := await self.reader.read(1 << 16):
                    heard += data
        return heard


async def ask(path: Path, request: bytes) -> bytes:
    """Give all that is answered to one request, whose connection then ends."""
    async with Client(path) as client:
        client.say(request)
        return await client.rest()


def problem_in(reply: bytes) -> Problem:
    return next(problem for problem in Problem if problem_reply(problem) == reply)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY)
    yield store
    await store.close()


@pytest.fixture
async def path(store: SqliteStore, tmp_path: Path) -> AsyncIterator[Path]:
    face = WebFace(store)
    await face.start(tmp_path / "socket", 0o600)
    yield tmp_path / "socket"
    await face.stop()


async def test_what_was_stored_is_fetched(path: Path) -> None:
    entry = an_entry()
    async with Client(path) as client:
        client.say(post("/v1/store", entry))
        stored = await client.reply()
        assert stored.startswith(b"HTTP/1.1 201 \r\n")
        bucket_id = BucketId.decode(stored[-BUCKET_SIZE - 12 : -BUCKET_SIZE])
        client.say(post("/v1/fetch", bucket_link(bucket_id, ONION_KEY) + secrets.token_bytes(240)))
        fetched = await client.reply()
    assert fetched.startswith(b"HTTP/1.1 200 \r\n")
    assert fetched[-BUCKET_SIZE - 12 : -BUCKET_SIZE] == bytes(12)
    assert fetched[-BUCKET_SIZE:] == stored[-BUCKET_SIZE:]
    assert entries(fetched[-BUCKET_SIZE:]).count(entry) == 1


CLOSE = "Connection: close\r\n"

REQUESTS = {
    "store": (post("/v1/store", more=CLOSE), 201),
    "fetch of nothing": (post(more=CLOSE), Problem.BUCKET_UNKNOWN),
    "as HTTP/1.0": (post("/v1/store", version="1.0"), 201),
    "expecting 100, body with it": (post("/v1/store", more=f"{CLOSE}Expect: 100-continue\r\n"), 201),
    "upgrade": (post("/v1/store", more="Connection: upgrade, close\r\nUpgrade: websocket\r\n"), 201),
    "said to be compressed": (post("/v1/store", more=f"{CLOSE}Content-Encoding: gzip\r\n"), 201),
    "expecting 100": (post(more="Expect: 100-continue\r\n", body=BODY)[:-256], Problem.MALFORMED),
    "other path": (post("/"), Problem.UNKNOWN_PATH),
    "query": (post("/v1/store?x"), Problem.UNKNOWN_PATH),
    "whole address": (post("http://x/v1/store"), Problem.UNKNOWN_PATH),
    "doubled slash": (post("//v1/store"), Problem.UNKNOWN_PATH),
    "path with escapes": (post("/v1/st%6frve"), Problem.UNKNOWN_PATH),
    "GET": (b"GET /v1/store HTTP/1.1\r\nHost: x\r\n\r\n", Problem.METHOD),
    "HEAD": (b"HEAD /v1/fetch HTTP/1.1\r\nHost: x\r\n\r\n", Problem.METHOD),
    "PUT": (post("/v1/store").replace(b"POST", b"PUT"), Problem.METHOD),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Problem.UNKNOWN_PATH),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", Problem.UNKNOWN_PATH),
    "empty body": (post(body=b""), Problem.LENGTH),
    "no body": (b"POST /v1/fetch HTTP/1.1\r\nHost: x\r\n\r\n", Problem.LENGTH),
    "body too short": (post(body=bytes(255)), Problem.LENGTH),
    "body too long": (post(body=bytes(257)), Problem.LENGTH),
    "body of a megabyte": (post(body=bytes(1 << 20))[:-1], Problem.LENGTH),
    "length with a zero": (post().replace(b"256", b"0256"), Problem.LENGTH),
    "length with a sign": (post().replace(b"256", b"+256"), Problem.MALFORMED),
    "negative length": (post().replace(b"256", b"-256"), Problem.MALFORMED),
    "two lengths": (post(more="Content-Length: 256\r\n"), Problem.MALFORMED),
    "chunked": (
        b"POST /v1/fetch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n" + BODY + b"\r\n0\r\n\r\n",
        Problem.LENGTH,
    ),
    "chunked and a length": (post(more="Transfer-Encoding: chunked\r\n"), Problem.MALFORMED),
    "no host": (post().replace(b"Host: x\r\n", b""), Problem.MALFORMED),
    "garbage": (b"\x00\xff garbage\r\n\r\n", Problem.MALFORMED),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(200), Problem.MALFORMED),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Problem.MALFORMED),
    "HTTP/0.9": (b"GET /v1/store\r\n\r\n", Problem.METHOD),
    "unknown method": (b"STORE /v1/store HTTP/1.1\r\nHost: x\r\n\r\n", Problem.MALFORMED),
    "long path": (post("/" + "x" * 10_000), Problem.MALFORMED),
    "large field": (post(more=f"X: {'x' * 10_000}\r\n"), Problem.MALFORMED),
    "huge field": (post(more=f"X: {'x' * 1_000_000}\r\n"), Problem.MALFORMED),
    "many fields": (post(more="".join(f"X{i}: x\r\n" for i in range(100))), Problem.MALFORMED),
    "zero byte in a field": (post(more="X: \0\r\n"), Problem.MALFORMED),
    "field without a name": (post(more=": x\r\n"), Problem.MALFORMED),
    "field over two lines": (post(more="X: x\r\n y\r\n"), Problem.MALFORMED),
    "path that is no URL": (post("/\xff\xfe"), Problem.MALFORMED),
    "host that is none": (post("http://[x/"), Problem.MALFORMED),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_every_reply_is_equally_long(path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    request, expected = REQUESTS[name]
    reply = await ask(path, request)
    assert len(reply) == REPLY_SIZE
    head, _, _ = reply.partition(b"\r\n\r\n")
    status_line, *fields = head.split(b"\r\n")
    assert [field.split(b":")[0] for field in fields] == [b"Content-Type", b"Content-Length"]
    if isinstance(expected, Problem):
        assert problem_in(reply) is expected
    else:
        assert status_line == b"HTTP/1.1 201 "
    assert caplog.text == ""


async def test_a_connection_carries_many_requests_also_in_pieces_and_all_at_once(path: Path) -> None:
    async with Client(path) as client:
        for byte in post("/v1/store"):
            client.say(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.reply()).startswith(b"HTTP/1.1 201 ")
        client.say(post() * 3 + post("/v1/store") + post(more=CLOSE))
        for status in (b"404", b"404", b"404", b"201", b"404"):
            assert (await client.reply()).startswith(b"HTTP/1.1 %s " % status)
        assert await client.rest() == b""


async def test_what_comes_behind_an_upgrade_is_not_read(path: Path) -> None:
    upgrade = post("/v1/store", more="Connection: upgrade\r\nUpgrade: websocket\r\n")
    reply = await ask(path, upgrade + post("/v1/store"))
    assert len(reply) == REPLY_SIZE
    assert reply.startswith(b"HTTP/1.1 201 ")


class BrokenStore:
    """Fails as it is told to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def store(self, entry: bytes) -> StoredBucket:  # noqa: ARG002
        raise self._error

    async def fetch(self, link: bytes) -> bytes | None:  # noqa: ARG002
        raise self._error

    async def totals(self) -> Totals:
        raise self._error

    async def export(self) -> AsyncGenerator[Kept]:
        raise self._error
        yield

    async def take_in(self, kept: AsyncIterator[Kept]) -> None:  # noqa: ARG002
        raise self._error

    async def close(self) -> None:
        raise self._error


@contextlib.asynccontextmanager
async def broken_face(tmp_path: Path, error: Exception) -> AsyncIterator[Path]:
    face = WebFace(BrokenStore(error))
    await face.start(tmp_path / "broken", 0o600)
    try:
        yield tmp_path / "broken"
    finally:
        await face.stop()


@pytest.mark.parametrize("request_path", ["/v1/store", "/v1/fetch"])
async def test_a_fault_inside_is_said_without_a_word_of_the_request(
    tmp_path: Path, request_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with broken_face(tmp_path, RuntimeError("about the secret")) as path:
        assert problem_in(await ask(path, post(request_path))) is Problem.INTERNAL
    assert caplog.messages == ["a request met a fault inside (RuntimeError)"]
    assert "secret" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_store_that_cannot_be_used_is_busy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with broken_face(tmp_path, StoreError("no space")) as path, Client(path) as client:
        for request_path in ("/v1/store", "/v1/fetch"):
            client.say(post(request_path))
            assert problem_in(await client.reply()) is Problem.BUSY
    assert caplog.text == ""  # the store has said it


@contextlib.asynccontextmanager
async def impatient_face(store: SqliteStore, path: Path, max_connections: int = 100) -> AsyncIterator[WebFace]:
    face = WebFace(store, request_timeout=0.2, max_connections=max_connections)
    await face.start(path, 0o600)
    try:
        yield face
    finally:
        await face.stop()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/st", post()[:-257], post() + b"POST"])
async def test_who_is_slow_with_a_head_is_cut_off(store: SqliteStore, tmp_path: Path, sent: bytes) -> None:
    async with impatient_face(store, tmp_path / "web"):
        reply = await ask(tmp_path / "web", sent)
        assert len(reply) == (REPLY_SIZE if BODY in sent else 0)


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(store: SqliteStore, tmp_path: Path) -> None:
    async with impatient_face(store, tmp_path / "web") as face, Client(tmp_path / "web") as client:
        said = 0
        await until(lambda: face.connections == 1)
        while face.connections:
            client.say(b"x")
            said += 1
            await asyncio.sleep(0.01)
        assert said < 1000, "a line that long is refused in any case"


async def test_who_is_slow_with_a_body_is_told(store: SqliteStore, tmp_path: Path) -> None:
    async with impatient_face(store, tmp_path / "web"):
        assert problem_in(await ask(tmp_path / "web", post()[:-1])) is Problem.TIMEOUT


async def test_who_does_not_read_is_not_read_from_either_and_cut_off(store: SqliteStore, tmp_path: Path) -> None:
    async with impatient_face(store, tmp_path / "web") as face:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(tmp_path / "web"))
            unsent = memoryview(post() * 10_000)
            with contextlib.suppress(BlockingIOError):
                while unsent:
                    unsent = unsent[client.send(unsent) :]
                    await asyncio.sleep(0.001)
            assert len(unsent) > 2_000_000  # of 3.2 MB
            await until(lambda: not face.connections)
        async with Client(tmp_path / "web") as client:
            client.say(post())
            await client.reply()


@pytest.mark.parametrize("requests", range(4, 24, 2))
async def test_who_leaves_a_few_replies_unread_is_cut_off_too(
    store: SqliteStore, tmp_path: Path, requests: int
) -> None:
    # Somewhere here the system takes no more and the rest waits in the process.
    async with impatient_face(store, tmp_path / "web") as face:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "web"))
            client.sendall(post() * requests)
            await until(lambda: face.connections == 1)
            await until(lambda: face.connections == 0)


async def test_nobody_waits_for_the_rest_of_a_request_that_is_refused(path: Path) -> None:
    async with Client(path) as client:
        client.say(post(body=bytes(1 << 20))[:1000])
        assert problem_in(await client.rest()) is Problem.LENGTH


async def test_a_client_that_goes_away_in_the_middle_is_nobodys_trouble(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in (1, 40, len(post()) - 1, len(post())):
        async with Client(path) as client:
            client.say(post("/v1/store")[:part])
            await client.writer.drain()
    async with Client(path) as client:
        client.say(post())
        await client.reply()
    assert caplog.text == ""


async def test_one_connection_too_many_is_told_and_the_others_go_on(store: SqliteStore, tmp_path: Path) -> None:
    face = WebFace(store, max_connections=2)
    await face.start(tmp_path / "web", 0o600)
    async with Client(tmp_path / "web") as first:
        async with Client(tmp_path / "web") as second:
            second.say(post())
            await second.reply()
            async with Client(tmp_path / "web") as third:
                assert problem_in(await third.rest()) is Problem.BUSY
            assert face.connections == 2
            first.say(post())
            await first.reply()
        await until(lambda: face.connections == 1)
        async with Client(tmp_path / "web") as again:
            again.say(post())
            assert problem_in(await again.reply()) is Problem.BUCKET_UNKNOWN
    await face.stop()


class SlowStore(BrokenStore):
    """Answers a fetch when it is let."""

    def __init__(self) -> None:
        super().__init__(AssertionError())
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def fetch(self, link: bytes) -> bytes | None:  # noqa: ARG002
        self.asked.set()
        await self.let.wait()
        return None


async def test_what_is_no_request_is_told_so_after_those_before_it(tmp_path: Path) -> None:
    store = SlowStore()
    face = WebFace(store)
    await face.start(tmp_path / "web", 0o600)
    async with Client(tmp_path / "web") as client:
        client.say(post())
        await store.asked.wait()
        for later in (post(), post("/v1/fetch")[:50], b"\0", post()):
            client.say(later)
            await asyncio.sleep(0.01)
        store.let.set()
        replies = await client.rest()
        assert len(replies) == 3 * REPLY_SIZE
        answers = [problem_in(replies[start : start + REPLY_SIZE]) for start in range(0, len(replies), REPLY_SIZE)]
        assert answers == [Problem.BUCKET_UNKNOWN, Problem.BUCKET_UNKNOWN, Problem.MALFORMED]
    await face.stop()


async def test_a_stop_answers_what_is_under_way(tmp_path: Path) -> None:
    store = SlowStore()
    face = WebFace(store)
    await face.start(tmp_path / "web", 0o600)
    async with Client(tmp_path / "web") as busy, Client(tmp_path / "web") as idle, Client(tmp_path / "web") as new:
        store.let.set()
        idle.say(post())
        await idle.reply()
        store.let.clear()
        store.asked.clear()
        busy.say(post())
        await store.asked.wait()
        stopping = asyncio.create_task(face.stop())
        await until(lambda: not (tmp_path / "web").exists())
        with pytest.raises(OSError, match="No such file"):
            await asyncio.open_unix_connection(tmp_path / "web")
        new.say(post())
        store.let.set()
        for client in (busy, new):
            assert problem_in(await client.rest()) is Problem.BUCKET_UNKNOWN
        assert await idle.rest() == b""
    await stopping


async def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    store = SlowStore()
    face = WebFace(store)
    await face.start(tmp_path / "web", 0o600)
    async with Client(tmp_path / "web") as stuck, Client(tmp_path / "web") as silent:
        stuck.say(post())
        await store.asked.wait()
        await face.stop(patience=0.05)
        assert await stuck.rest() == await silent.rest() == b""


async def test_a_socket_that_listens_already_is_served_and_left_in_its_place(
    store: SqliteStore, tmp_path: Path
) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "activated"))
    listener.listen()
    kept = listener.dup()
    face = WebFace(store)
    await face.start_on(listener)
    async with Client(tmp_path / "activated") as client:
        client.say(post())
        await client.reply()
    await face.stop()
    assert (tmp_path / "activated").is_socket()
    # Who comes while no server runs waits for the next one.
    async with Client(tmp_path / "activated") as client:
        client.say(post())
        face = WebFace(store)
        await face.start_on(kept)
        await client.reply()
    await face.stop()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_socket_has_its_mode_from_the_first_moment(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    chmod = Path.chmod

    def look_and_chmod(path: Path, mode: int) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", look_and_chmod)
    umask = os.umask(0o027)
    try:
        listener = UnixListener(tmp_path / "web", mode)
    finally:
        os.umask(umask)
    assert seen == [mode & ~0o027]
    assert stat.S_IMODE((tmp_path / "web").stat().st_mode) == mode
    listener.unlink()
    listener.socket.close()
    assert not (tmp_path / "web").exists()


def test_a_socket_that_a_crash_left_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "web"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    living = UnixListener(path, 0o600)
    with pytest.raises(SettingsError, match="another server listens on"):
        UnixListener(path, 0o600)
    living.socket.listen(0)
    with socket.socket(socket.AF_UNIX) as queued:
        queued.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            queued.connect(str(path))
        with pytest.raises(SettingsError, match="another server listens on"):  # though it has no room to say so
            UnixListener(path, 0o600)
    living.socket.close()
    UnixListener(path, 0o600).socket.close()


def test_a_name_that_is_somebody_elses_by_now_stays(tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "web", 0o600)
    listener.socket.close()
    successor = UnixListener(tmp_path / "web", 0o600)
    listener.unlink()
    assert (tmp_path / "web").exists()
    successor.socket.close()
    successor.unlink()
    successor.unlink()
    assert not (tmp_path / "web").exists()


def test_what_cannot_be_a_socket_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "file", "is no socket"),
        (tmp_path / "file" / "web", "Not a directory"),
        (tmp_path / "missing" / "web", "No such file"),
        (tmp_path / ("x" * 120), "path too long"),
    ):
        with pytest.raises(SettingsError, match=reason):
            UnixListener(path, 0o600)
    assert (tmp_path / "file").exists()
