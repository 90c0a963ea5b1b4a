"""What one circuit may do, counted and over the socket; who is on another circuit does not feel it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY, an_entry, until
from test_web import CLOSE, Client, ask, post, problem_in

from onion_rdv.errors import MalformedReply, SettingsError
from onion_rdv.protocol.exchange import Problem
from onion_rdv.rendezvous import health, proxy_line
from onion_rdv.rendezvous.circuits import PERIOD, Circuits
from onion_rdv.rendezvous.limits import CircuitLimits
from onion_rdv.rendezvous.settings import ServerSettings
from onion_rdv.rendezvous.sqlite import SqliteStore
from onion_rdv.rendezvous.web import WebFace
from onion_rdv.tor.onion_service import DirectoryService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Timers:
    """An event loop's timers, which fire when a test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.waiting: list[asyncio.TimerHandle] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        assert delay == PERIOD
        self.waiting.append(asyncio.TimerHandle(0, call, (), self._loop))
        return self.waiting[-1]

    def pass_one_period(self) -> None:
        for timer in self.waiting[:]:
            self.waiting.remove(timer)
            timer._run()

    def close(self) -> None:
        self._loop.close()


@pytest.fixture
def timers() -> object:
    timers = Timers()
    yield timers
    timers.close()


def test_stores_are_counted_for_a_minute_or_two_and_forgotten(timers: Timers) -> None:
    circuits = Circuits(CircuitLimits(0, 2), timers.call_later)
    assert [circuits.may_store(1) for _ in range(3)] == [True, True, False]
    assert circuits.may_store(2)
    timers.pass_one_period()
    assert not circuits.may_store(1)
    assert circuits.may_store(2)
    timers.pass_one_period()
    assert circuits.may_store(1)
    assert circuits.may_store(2)
    for _ in range(3):
        timers.pass_one_period()
    assert circuits.known == 0
    assert not timers.waiting, "it does not wake up for nothing"


def test_streams_are_counted_while_they_are_open(timers: Timers) -> None:
    circuits = Circuits(CircuitLimits(2), timers.call_later)
    assert [circuits.open(1) for _ in range(3)] == [True, True, False]
    assert circuits.open(2)
    circuits.close(1)
    assert circuits.open(1)
    for circuit in (1, 1, 2):
        circuits.close(circuit)
    assert circuits.known == 0


def test_none_is_any_number(timers: Timers) -> None:
    circuits = Circuits(CircuitLimits(0, 0), timers.call_later)
    assert all(circuits.open(1) and circuits.may_store(1) for _ in range(1000))
    circuits.stop()
    assert circuits._timer is None


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "store.db", ONION_KEY)
    yield store
    await store.close()


@asynccontextmanager
async def face_of(
    store: SqliteStore, path: Path, limits: CircuitLimits, request_timeout: float = 60
) -> AsyncIterator[WebFace]:
    face = WebFace(store, circuits=limits, request_timeout=request_timeout)
    await face.start(path, 0o600)
    try:
        yield face
    finally:
        await face.stop()


async def test_a_circuit_that_stores_too_much_is_told_to_wait(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "web"
    async with face_of(store, path, CircuitLimits(0, 3)):
        for answers in (b"201", b"201", b"201", b"503"):
            reply = await ask(path, proxy_line.write(7) + post("/v1/store", an_entry(), more=CLOSE))
            assert reply.startswith(b"HTTP/1.1 " + answers)
        assert problem_in(reply) is Problem.BUSY
        async with Client(path) as client:  # fetches go on, also on the same circuit
            client.say(proxy_line.write(7) + post() + post("/v1/store"))
            assert problem_in(await client.reply()) is Problem.BUCKET_UNKNOWN
            assert problem_in(await client.reply()) is Problem.BUSY
        assert (await ask(path, proxy_line.write(8) + post("/v1/store", more=CLOSE))).startswith(b"HTTP/1.1 201")
    assert (await store.totals()).stored == 4


async def test_a_circuit_that_holds_too_much_open_is_told_to_wait(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "web"
    async with face_of(store, path, CircuitLimits(1)) as face, Client(path) as first:
        first.say(proxy_line.write(7) + post())
        await first.reply()
        assert problem_in(await ask(path, proxy_line.write(7) + post())) is Problem.BUSY
        assert problem_in(await ask(path, proxy_line.write(8) + post(more=CLOSE))) is Problem.BUCKET_UNKNOWN
        first.writer.close()
        await until(lambda: face.connections == 0)
        assert problem_in(await ask(path, proxy_line.write(7) + post(more=CLOSE))) is Problem.BUCKET_UNKNOWN
        assert face._circuits is not None
        await until(lambda: face._circuits is not None and face._circuits.known == 0)


async def test_the_line_comes_in_pieces_or_not_at_all(
    store: SqliteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "web"
    async with face_of(store, path, CircuitLimits(16)):
        async with Client(path) as client:
            for byte in proxy_line.write(7) + post(more=CLOSE):
                client.say(bytes([byte]))
                await asyncio.sleep(0)
            assert problem_in(await client.reply()) is Problem.BUCKET_UNKNOWN
        assert problem_in(await ask(path, post())) is Problem.MALFORMED
        async with Client(path) as leaving:
            leaving.say(proxy_line.write(7)[:20])
    async with face_of(store, path, CircuitLimits(16), request_timeout=0.4):
        assert await ask(path, proxy_line.write(7)[:20]) == b"", "who is slow is cut off"
        assert await ask(path, proxy_line.write(7)) == b""
    assert caplog.text == ""


async def test_the_servers_own_look_at_itself_is_on_no_circuit(store: SqliteStore, tmp_path: Path) -> None:
    async with face_of(store, tmp_path / "web", CircuitLimits(16)):
        await health.check(tmp_path / "web", proxy_line.write(proxy_line.NO_CIRCUIT))
        with pytest.raises(MalformedReply):
            await health.check(tmp_path / "web")


def test_circuit_ids_need_a_directory_of_tors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="only for a HiddenServiceDir") as refused:
        ServerSettings(tmp_path, circuit_ids=True).check()
    assert refused.value.settings == ("circuit_ids", "onion_service_dir")
    settings = ServerSettings(tmp_path, onion_service_dir=tmp_path / "hs", circuit_ids=True, max_circuit_stores=3)
    way = settings.way(tmp_path / "socket")
    assert isinstance(way, DirectoryService)
    assert way._export_circuit_id
    assert settings.circuits == CircuitLimits(settings.max_streams, 3)
    assert ServerSettings(tmp_path).circuits is None
