"""What an ephemeral service asks of a real tor that has no network, and how a service is kept up and stopped."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes import OlderTor
from file_limits import no_file_larger_than
from offline_tor import COOKIE, OfflineTor, offline_tor

from onion_rdv.errors import KeyFileUnusable, NoTor, ServiceNotPublished, SettingsError, StoreError
from onion_rdv.tor.control import Control, connect
from onion_rdv.tor.onion_service import EphemeralService, OnionService, Provided, ServiceSettings
from onion_rdv.tor.onion_service.detached import NOTE_FILE, take_back
from onion_rdv.tor.onion_service.key_file import load_or_create
from onion_rdv.tor.progress import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = ServiceSettings(Path("/run/rdv/web"))
CLIENT = "AMNPR7Q5JM2NFYZQWBQCZBW2WZUXTLIKDRHVV4PCDLW3PJSMIVCQ"
OTHER = "B" * 51 + "A"


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    with offline_tor(tmp_path / "tor", COOKIE) as running:
        yield running


async def test_tor_without_network(tmp_path: Path, tor: OfflineTor) -> None:
    states: list[str] = []
    way = EphemeralService(TARGET, tmp_path / "key")
    service = OnionService(way, lambda: connect(tor.control), on_state=states.append, timeout=2)
    with pytest.raises(RuntimeError, match="has not been published yet"):
        _ = service.address
    with pytest.raises(ServiceNotPublished, match=r"tor has come to 0 % of its start \(starting\)"):
        await service.publish()
    assert not service.is_published
    assert states == ["publishing"]
    assert (tmp_path / "key").exists()
    async with await connect(tor.control) as control:
        assert await control.info("onions/current") == ""
    await service.stop()


async def test_what_ephemeral_services_are_told(tmp_path: Path, tor: OfflineTor) -> None:
    before = OlderTor(tor.control)
    way = EphemeralService(ServiceSettings(Path("/x"), authorized_clients=(CLIENT,)), tmp_path / "key")
    plain = EphemeralService(ServiceSettings("127.0.0.1:1", max_streams=0, proof_of_work=False), tmp_path / "two")
    async with before.serving(), await connect(before.address) as control:
        provided = await way.provide(control)
        assert provided == Provided(await way.expected_address(), proof_of_work=True, fresh=True, warnings=())
        assert await way.is_provided(control)
        assert not (await plain.provide(control)).proof_of_work
        assert len((await control.info("onions/current")).splitlines()) == 2
        await way.withdraw(control)
        await way.withdraw(control)
        assert f"{await control.info('onions/current')}.onion" == await plain.expected_address()
    said = [line.split(b" ", 2)[2].decode().strip() for line in before.received if line.startswith(b"ADD_ONION")]
    everything = "Flags=DiscardPK,MaxStreamsCloseCircuit,V3Auth MaxStreams=16"
    everything += " PoWDefensesEnabled=1 PoWQueueRate=100 PoWQueueBurst=200"
    everything += f" Port=80,unix:/x ClientAuthV3={CLIENT}"
    assert said == [everything, "Flags=DiscardPK MaxStreams=0 Port=80,127.0.0.1:1"]


async def test_an_older_tor_does_without_proof_of_work(tmp_path: Path, tor: OfflineTor) -> None:
    refusal = {b"PoW": b'512 Unrecognized keyword argument "PoWDefensesEnabled"\r\n'}
    older = OlderTor(tor.control, refusal, {b"version=0.4.9.11": b"version=0.4.8.10"})
    way = EphemeralService(TARGET, tmp_path / "key")
    async with older.serving(), await connect(older.address) as control:
        provided = await way.provide(control)
        assert not provided.proof_of_work
        assert [warning.partition(":")[0] for warning in provided.warnings] == [
            "this is tor 0.4.8.10; before 0.4.9.11 a rendezvous point can impersonate the onion service",
            "this tor does not know proof of work here (tor 0.4.9.2 and later do, built with it)",
        ]
        assert f"{await control.info('onions/current')}.onion" == provided.address


async def test_the_same_key_twice(tmp_path: Path, tor: OfflineTor) -> None:
    async with await connect(tor.control) as one, await connect(tor.control) as other:
        await EphemeralService(TARGET, tmp_path / "key").provide(one)
        with pytest.raises(ServiceNotPublished, match="has an onion service with the same key") as caught:
            await EphemeralService(TARGET, tmp_path / "key").provide(other)
        assert "end the other program" in caught.value.hint


async def test_a_detached_service_outlives_its_server(tmp_path: Path, tor: OfflineTor) -> None:
    key, note = tmp_path / "key", tmp_path / NOTE_FILE
    async with await connect(tor.control) as control:
        way = EphemeralService(TARGET, key, detach=True)
        first = await way.provide(control)
        assert first.fresh
        assert await way.is_provided(control)
        await way.withdraw(control)
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    async with await connect(tor.control) as control:
        again = await EphemeralService(TARGET, key, detach=True).provide(control)
        assert again == first._replace(fresh=False)
        assert f"{await control.info('onions/detached')}.onion" == first.address
        assert await take_back(control, note) == first.address
        assert await control.info("onions/detached") == ""
        assert not note.exists()
        assert await take_back(control, note) is None
        assert (await EphemeralService(TARGET, key, detach=True).provide(control)).fresh


@pytest.mark.parametrize(
    "change", ["port", "clients", "attached", "another key", "damaged note", "proof of work refused"]
)
async def test_what_was_left_with_tor_is_replaced_where_it_differs(
    tmp_path: Path, tor: OfflineTor, change: str
) -> None:
    key, note = tmp_path / "key", tmp_path / NOTE_FILE
    settings, detach, refused = TARGET, True, dict[bytes, bytes]()
    before = OlderTor(tor.control, refused)
    async with before.serving(), await connect(before.address) as control:
        if change == "proof of work refused":
            refused[b"PoW"] = b"512 Unrecognized keyword argument\r\n"
        first = await EphemeralService(settings, key, detach=True).provide(control)
        match change:
            case "port":
                settings = ServiceSettings(Path("/run/rdv/web"), virtual_port=81)
            case "clients":
                settings = TARGET.letting_in([CLIENT])
            case "attached":
                detach = False
            case "another key":
                key.unlink()
            case "damaged note":
                note.write_text(f"{first.address}\n{'0' * 64}\n")
        before.received.clear()
        again = await EphemeralService(settings, key, detach=detach).provide(control)
        said = [line.split()[0] for line in before.received if b"_ONION" in line]
        kept = change == "proof of work refused"
        assert said == ([] if kept else [b"DEL_ONION", b"ADD_ONION"])
        assert again.fresh is not kept
        assert again.proof_of_work is not kept
        assert bool(again.warnings) is kept
        detached, current = await control.info("onions/detached"), await control.info("onions/current")
        assert [f"{name}.onion" for name in (detached + current).split()] == [again.address]
        assert note.exists() is detach


async def test_a_service_of_nobody_we_know_is_not_taken_over(tmp_path: Path, tor: OfflineTor) -> None:
    async with await connect(tor.control) as control:
        await EphemeralService(TARGET, tmp_path / "key", detach=True).provide(control)
        (tmp_path / NOTE_FILE).unlink()
        for _ in range(2):
            with pytest.raises(ServiceNotPublished, match="has an onion service with the same key"):
                await EphemeralService(TARGET, tmp_path / "key", detach=True).provide(control)
            assert not (tmp_path / NOTE_FILE).exists()


@pytest.mark.parametrize("detach", [False, True])
async def test_clients_are_replaced_over_the_connection_that_stands(
    tmp_path: Path, tor: OfflineTor, detach: bool
) -> None:
    way = EphemeralService(TARGET, tmp_path / "key", detach=detach)
    circuits = b"GETINFO circuit-status"
    before = OlderTor(tor.control)
    async with before.serving(), await connect(before.address) as control:
        await way.provide(control)
        for clients, shut_out in (([CLIENT], True), ([CLIENT, OTHER], False), ([OTHER], True), ([], False)):
            before.received.clear()
            assert way.replace_clients(clients)
            assert (await way.provide(control)).fresh
            told = [line.split(b" ", 2)[2].decode().split() for line in before.received if b"ADD_ONION" in line]
            assert [word[13:] for word in told[0] if word.startswith("ClientAuthV3=")] == clients
            assert any(line.endswith(circuits + b"\r\n") for line in before.received) is shut_out
            assert way.clients == tuple(clients)
        assert not way.replace_clients([])
        with pytest.raises(SettingsError, match="not an x25519 public key"):
            way.replace_clients(["x"])


async def test_clients_are_replaced_while_tor_is_away(tmp_path: Path, tor: OfflineTor) -> None:
    way = EphemeralService(TARGET, tmp_path / "key")
    service = OnionService(way, lambda: connect(tor.control))
    assert service.state == "publishing"
    assert not await service.replace_clients([CLIENT])
    assert way.clients == (CLIENT,)
    assert service.tor_version is None


async def test_tor_refuses(tmp_path: Path, tor: OfflineTor) -> None:
    older = OlderTor(tor.control, {b"ADD_ONION": b"551 Failed to add Onion Service\r\n"})
    async with older.serving(), await connect(older.address) as control:
        with pytest.raises(ServiceNotPublished, match="tor says: 551 Failed to add Onion Service"):
            await EphemeralService(TARGET, tmp_path / "key").provide(control)


async def test_keeping_never_gives_up_and_stops_at_once(tmp_path: Path) -> None:
    states: list[str] = []
    lost = asyncio.Queue[str]()

    async def open_control() -> Control:
        raise NoTor("gone")

    def on_state(state: str) -> None:
        states.append(state)
        if state.startswith("lost: "):
            lost.put_nowait(state)

    service = OnionService(EphemeralService(TARGET, tmp_path / "key"), open_control, on_state=on_state)
    keeping = asyncio.create_task(service.keep())
    async with asyncio.timeout(30):
        for _ in range(3):
            assert (await lost.get()).endswith("gone")
        assert states == ["publishing", states[1]] * 3
        await service.stop()
        await keeping
        await service.keep()  # stopped is stopped


async def test_keeping_is_cancelled_while_publishing(tmp_path: Path, tor: OfflineTor) -> None:
    publishing = asyncio.Event()

    def progress(percent: int, what: str) -> None:
        publishing.set()

    way = EphemeralService(TARGET, tmp_path / "key")
    service = OnionService(way, lambda: connect(tor.control), progress=progress)
    keeping = asyncio.create_task(service.keep())
    async with asyncio.timeout(30):
        await publishing.wait()
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    await service.stop()
    async with await connect(tor.control) as control:
        assert await control.info("onions/current") == ""


@pytest.mark.parametrize("missing", ["key", NOTE_FILE])
async def test_keeping_waits_for_room_on_the_disk(tmp_path: Path, tor: OfflineTor, missing: str) -> None:
    if missing == NOTE_FILE:
        load_or_create(tmp_path / "key")
    lost = asyncio.Queue[str]()

    def on_state(state: str) -> None:
        if state.startswith("lost: "):
            lost.put_nowait(state)

    way = EphemeralService(TARGET, tmp_path / "key", detach=True)
    service = OnionService(way, lambda: connect(tor.control), on_state=on_state)
    async with asyncio.timeout(30), await connect(tor.control) as control:
        with no_file_larger_than(0):
            with pytest.raises(StoreError, match=str(tmp_path / missing)):
                await service.publish()
            keeping = asyncio.create_task(service.keep())
            for _ in range(2):
                assert str(tmp_path / missing) in await lost.get()
            assert await control.info("onions/detached") == ""
            assert not (tmp_path / missing).exists()
        while not await control.info("onions/detached"):
            await asyncio.sleep(0.05)
        await service.stop()
        await keeping
        assert await take_back(control, tmp_path / NOTE_FILE) == await way.expected_address()


async def test_a_tor_that_was_restarted_is_told_the_same_on_a_full_disk(tmp_path: Path, tor: OfflineTor) -> None:
    way = EphemeralService(TARGET, tmp_path / "key", detach=True)
    async with await connect(tor.control) as control:
        first = await way.provide(control)
        await control.ask(f"DEL_ONION {first.address.removesuffix('.onion')}")
    async with await connect(tor.control) as control:
        with no_file_larger_than(0):
            assert await way.provide(control) == first
        assert await take_back(control, tmp_path / NOTE_FILE) == first.address


async def test_clients_are_shut_out_when_the_disk_has_room_again(tmp_path: Path, tor: OfflineTor) -> None:
    way = EphemeralService(TARGET.letting_in([CLIENT, OTHER]), tmp_path / "key", detach=True)
    service = OnionService(way, lambda: connect(tor.control))
    async with await connect(tor.control) as control:
        await way.provide(control)
        service._control = await connect(tor.control)
        with no_file_larger_than(0):
            assert not await service.replace_clients([CLIENT])
        assert await control.info("onions/detached") == "", "nobody gets in meanwhile"
        assert way.clients == (CLIENT,)
        await way.provide(control)
        assert await control.info("onions/detached") != ""
        await take_back(control, tmp_path / NOTE_FILE)


async def test_keeping_raises_what_will_not_mend_itself(tmp_path: Path, tor: OfflineTor) -> None:
    (tmp_path / "key").touch(0o644)
    way = EphemeralService(TARGET, tmp_path / "key")
    service = OnionService(way, lambda: connect(tor.control), progress=silent)
    with pytest.raises(KeyFileUnusable, match="open to other users"):
        await service.keep()
    await service.stop()
