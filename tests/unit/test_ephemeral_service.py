"""What an ephemeral service asks of a real tor that has no network, and how a service is kept up and stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes import OlderTor
from offline_tor import COOKIE, OfflineTor, offline_tor

from onion_rdv.errors import KeyFileUnusable, NoTor, ServiceNotPublished
from onion_rdv.tor.control import Control, connect
from onion_rdv.tor.onion_service import EphemeralService, OnionService, Provided, ServiceSettings
from onion_rdv.tor.progress import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = ServiceSettings(Path("/run/rdv/web"))


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    with offline_tor(tmp_path / "tor", COOKIE) as running:
        yield running


async def test_tor_without_network(tmp_path: Path, tor: OfflineTor) -> None:
    states: list[str] = []
    way = EphemeralService(TARGET, tmp_path / "key")
    service = OnionService(way, lambda: connect(tor.control), on_state=states.append, timeout=0.5)
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
    client = "AMNPR7Q5JM2NFYZQWBQCZBW2WZUXTLIKDRHVV4PCDLW3PJSMIVCQ"
    before = OlderTor(tor.control)
    way = EphemeralService(ServiceSettings(Path("/x"), authorized_clients=(client,)), tmp_path / "key")
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
    everything += f" Port=80,unix:/x ClientAuthV3={client}"
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


async def test_keeping_raises_what_will_not_mend_itself(tmp_path: Path, tor: OfflineTor) -> None:
    (tmp_path / "key").touch(0o644)
    way = EphemeralService(TARGET, tmp_path / "key")
    service = OnionService(way, lambda: connect(tor.control), progress=silent)
    with pytest.raises(KeyFileUnusable, match="open to other users"):
        await service.keep()
    await service.stop()
