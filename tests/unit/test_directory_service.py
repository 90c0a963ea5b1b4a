"""A HiddenServiceDir set over the control port of a real tor that has no network."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes import FakeControlPort, OlderTor
from file_limits import no_file_larger_than
from offline_tor import COOKIE, OfflineTor, offline_tor

from onion_rdv.errors import ServiceNotPublished, SettingsError, StoreError
from onion_rdv.tor.control import Control, Event, connect
from onion_rdv.tor.onion_service import DirectoryService, Provided, ServiceSettings, authorized_clients
from onion_rdv.tor.onion_service.hidden_service_options import blocks, setconf
from onion_rdv.tor.onion_service.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TARGET = Path("/run/rdv/web")
CLIENT = "AMNPR7Q5JM2NFYZQWBQCZBW2WZUXTLIKDRHVV4PCDLW3PJSMIVCQ"
OTHER_CLIENT = "B" * 51 + "A"
NOBODY = 65534


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    earlier = [f'HiddenServiceDir "{tmp_path}/earlier one"', 'HiddenServicePort 80 unix:"/run/a b"']
    with offline_tor(tmp_path / "tor", COOKIE, *earlier, "HiddenServiceNumIntroductionPoints 4") as running:
        yield running


@pytest.fixture
async def control(tor: OfflineTor) -> AsyncIterator[Control]:
    async with await connect(tor.control) as opened:
        yield opened


async def ours(control: Control) -> list[tuple[str, str]]:
    """Check that the earlier service is there as it was, and give the options after it."""
    options = await control.conf("HiddenServiceOptions")
    assert options[0][0] == "HiddenServiceDir"
    assert options[0][1].endswith("/earlier one")
    assert options[1:3] == [("HiddenServicePort", '80 unix:"/run/a b"'), ("HiddenServiceNumIntroductionPoints", "4")]
    return options[3:]


async def test_beside_the_services_that_are_there(tmp_path: Path, control: Control) -> None:
    way = DirectoryService(ServiceSettings(TARGET), tmp_path / "ours", export_circuit_id=True)
    assert await way.expected_address() is None
    provided = await way.provide(control)
    address = (tmp_path / "ours" / "hostname").read_text().strip()
    assert provided == Provided(address, proof_of_work=True, fresh=True, warnings=())
    assert await ours(control) == [
        ("HiddenServiceDir", f"{tmp_path}/ours"),
        ("HiddenServicePort", "80 unix:/run/rdv/web"),
        ("HiddenServiceMaxStreams", "16"),
        ("HiddenServiceMaxStreamsCloseCircuit", "1"),
        ("HiddenServicePoWDefensesEnabled", "1"),
        ("HiddenServicePoWQueueRate", "100"),
        ("HiddenServicePoWQueueBurst", "200"),
        ("HiddenServiceExportCircuitID", "haproxy"),
    ]
    assert await way.expected_address() == provided.address
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o700


async def test_the_same_again_changes_nothing(tmp_path: Path, control: Control) -> None:
    settings = ServiceSettings("127.0.0.1:8080", virtual_port=8000, max_streams=0, proof_of_work=False)
    first = await DirectoryService(settings, tmp_path / "ours").provide(control)
    changes: list[Event] = []
    await control.add_event_listener(changes.append, "CONF_CHANGED")
    again = await DirectoryService(settings, tmp_path / "ours").provide(control)
    assert again == Provided(first.address, proof_of_work=False, fresh=False, warnings=())
    await control.ask("SETCONF Nickname=marker")
    async with asyncio.timeout(30):
        while not changes:
            await asyncio.sleep(0)
    assert [event.text for event in changes] == ["Nickname=marker\nOK"]
    assert await ours(control) == [
        ("HiddenServiceDir", f"{tmp_path}/ours"),
        ("HiddenServicePort", "8000 127.0.0.1:8080"),
    ]


async def test_changed_settings_replace_ours_and_keep_the_operators(tmp_path: Path, control: Control) -> None:
    directory = tmp_path / "ours"
    old = f'HiddenServiceDir="{directory}/" HiddenServicePort="80 127.0.0.1:1" HiddenServiceNumIntroductionPoints=5'
    earlier = await control.conf("HiddenServiceOptions")
    first = f'HiddenServiceDir="{earlier[0][1]}" HiddenServicePort="80 unix:\\"/run/a b\\""'
    await control.ask(
        f"SETCONF {first} HiddenServiceNumIntroductionPoints=4 {old} HiddenServiceExportCircuitID=haproxy"
    )
    provided = await DirectoryService(ServiceSettings(TARGET, proof_of_work=False), directory).provide(control)
    assert not provided.fresh
    assert await ours(control) == [
        ("HiddenServiceDir", str(directory)),
        ("HiddenServicePort", "80 unix:/run/rdv/web"),
        ("HiddenServiceMaxStreams", "16"),
        ("HiddenServiceMaxStreamsCloseCircuit", "1"),
        ("HiddenServiceNumIntroductionPoints", "5"),
    ]


async def test_a_reload_of_torrc_is_noticed(tmp_path: Path, tor: OfflineTor, control: Control) -> None:
    way = DirectoryService(ServiceSettings(TARGET), tmp_path / "ours")
    await way.provide(control)
    assert await way.is_provided(control)
    reloaded = asyncio.Event()
    await control.add_event_listener(lambda _event: reloaded.set(), "SIGNAL")
    os.kill(tor.pid, signal.SIGHUP)
    async with asyncio.timeout(30):
        await reloaded.wait()
    assert not await way.is_provided(control)
    assert await ours(control) == []


async def test_withdrawing_leaves_it_with_tor(tmp_path: Path, control: Control) -> None:
    way = DirectoryService(ServiceSettings(TARGET), tmp_path / "ours")
    await way.provide(control)
    await way.withdraw(control)
    assert await way.is_provided(control)


async def test_a_directory_left_group_readable_stays_so(tmp_path: Path, control: Control) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours").chmod(0o750)
    await DirectoryService(ServiceSettings(TARGET), tmp_path / "ours").provide(control)
    assert (await ours(control))[-1] == ("HiddenServiceDirGroupReadable", "1")


async def test_an_older_tor_does_without_proof_of_work(tmp_path: Path, tor: OfflineTor) -> None:
    refusal = {b"PoW": b"552 Unrecognized option: Unknown option\r\n"}
    older = OlderTor(tor.control, refusal, {b"version=0.4.9.11": b"version=0.4.7.16"})
    async with older.serving(), await connect(older.address) as control:
        way = DirectoryService(ServiceSettings(TARGET), tmp_path / "ours")
        provided = await way.provide(control)
        assert not provided.proof_of_work
        assert len(provided.warnings) == 2
        assert provided.warnings[0].startswith("this is tor 0.4.7.16; before 0.4.9.11 a rendezvous point can imp")
        assert "does not know proof of work here (tor 0.4.8 and later do" in provided.warnings[1]
        assert await way.is_provided(control)
        assert "HiddenServicePoWDefensesEnabled" not in dict(await ours(control))


async def test_tor_refuses_because_of_another_service(tmp_path: Path, control: Control) -> None:
    (tmp_path / "earlier one").chmod(0o755)
    with pytest.raises(ServiceNotPublished, match="tor says: 513") as caught:
        await DirectoryService(ServiceSettings(TARGET), tmp_path / "ours").provide(control)
    assert caught.value.hint == "tor's log says what it does not accept"
    assert await ours(control) == []


async def refusal(directory: Path, control: Control) -> str:
    with pytest.raises(SettingsError) as caught:
        await DirectoryService(ServiceSettings(TARGET), directory).provide(control)
    await control.info("version")  # tor lives
    return caught.value.detail


async def test_places_that_would_end_tor(tmp_path: Path, control: Control) -> None:
    assert "is not an absolute path" in await refusal(Path("ours"), control)
    detail = await refusal(tmp_path / "none" / "ours", control)
    assert detail.startswith(f"{tmp_path}/none does not exist, and tor makes only the last part")
    assert "File name too long" in await refusal(tmp_path / ("a" * 300), control)
    (tmp_path / "file").touch()
    assert await refusal(tmp_path / "file", control) == f"{tmp_path}/file is no directory"
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    assert await refusal(tmp_path / "open", control) == f"{tmp_path}/open is open to other users"
    assert await ours(control) == []


def test_places_of_other_users(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(SettingsError, match=f"tor, which runs as .*, cannot make {tmp_path}/ours"):
        Place(tmp_path / "ours", NOBODY)
    tmp_path.chmod(0o777)
    assert Place(tmp_path / "ours", NOBODY).shared
    tmp_path.chmod(0o755)
    assert not Place(tmp_path / "ours", 0).exists
    (tmp_path / "mine").mkdir(mode=0o700)
    with pytest.raises(SettingsError, match="mine does not belong to the user that tor runs as"):
        Place(tmp_path / "mine", NOBODY)
    unsaid = Place(tmp_path / "mine", None)
    assert unsaid.shared
    with pytest.raises(SettingsError, match="hostname does not exist"):
        unsaid.address()


def test_a_user_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tor, which runs as 4000000000, cannot make"):
        Place(tmp_path / "ours", 4_000_000_000)


async def test_tor_ends_at_a_directory_that_is_not_there(tmp_path: Path) -> None:
    replies = {
        b"PROTOCOLINFO": b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n',
        b"AUTHENTICATE": b"250 OK\r\n",
        b"GETINFO process/uid": f"250-process/uid={os.geteuid()}\r\n250 OK\r\n".encode(),
        b"GETINFO version": b"250-version=0.4.9.11\r\n250 OK\r\n",
        b"GETCONF": b"250 HiddenServiceOptions\r\n",
    }
    port = FakeControlPort(replies=replies, hangs_up_at=b"SETCONF")
    async with port.serving(), await connect(port.address) as control:
        with pytest.raises(SettingsError, match=f"tor ended when it was told to use {tmp_path}/ours"):
            await DirectoryService(ServiceSettings(TARGET), tmp_path / "ours").provide(control)


async def test_clients_are_written_before_tor_publishes(tmp_path: Path, control: Control) -> None:
    settings = ServiceSettings(TARGET, authorized_clients=(CLIENT, OTHER_CLIENT))
    provided = await DirectoryService(settings, tmp_path / "ours").provide(control)
    assert provided.fresh
    files = sorted((tmp_path / "ours" / "authorized_clients").iterdir())
    assert [file.read_text() for file in files] == [
        f"descriptor:x25519:{CLIENT}\n",
        f"descriptor:x25519:{OTHER_CLIENT}\n",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_who_is_shut_out_finds_nothing_of_what_was(tmp_path: Path, tor: OfflineTor) -> None:
    """The service leaves tor's configuration before the files change, and keeps what an operator gave it."""
    before = OlderTor(tor.control)
    way = DirectoryService(ServiceSettings(TARGET, authorized_clients=(CLIENT,)), tmp_path / "ours")
    async with before.serving(), await connect(before.address) as control:
        await way.provide(control)
        options = await control.conf("HiddenServiceOptions")
        await control.ask(setconf(blocks([*options, ("HiddenServiceNumIntroductionPoints", "5")])))

        assert way.replace_clients([CLIENT, f"descriptor:x25519:{OTHER_CLIENT}"])
        assert not way.replace_clients([CLIENT, OTHER_CLIENT])
        before.received.clear()
        assert not (await way.provide(control)).fresh
        assert len(told := [line for line in before.received if line.startswith(b"SETCONF")]) == 1
        assert str(tmp_path / "ours").encode() in told[0]
        assert sorted(clients(tmp_path / "ours")) == sorted([CLIENT, OTHER_CLIENT])

        assert way.replace_clients([OTHER_CLIENT])
        before.received.clear()
        assert (await way.provide(control)).fresh
        told = [line for line in before.received if line.startswith(b"SETCONF")]
        assert [str(tmp_path / "ours").encode() in line for line in told] == [False, True]
        assert clients(tmp_path / "ours") == [OTHER_CLIENT]
        assert ("HiddenServiceNumIntroductionPoints", "5") in await ours(control)
        assert await way.is_provided(control)

        assert way.replace_clients([])
        assert not (await way.provide(control)).fresh, "everybody may come now, and nobody was shut out"
        assert clients(tmp_path / "ours") == []
        assert way.replace_clients([CLIENT])
        assert (await way.provide(control)).fresh, "everybody else was shut out"


def clients(directory: Path) -> list[str]:
    """Read whom tor lets in."""
    files = (directory / "authorized_clients").iterdir()
    return [file.read_text().strip().removeprefix("descriptor:x25519:") for file in files]


async def test_an_operators_client_stays_and_is_told(tmp_path: Path, control: Control) -> None:
    await DirectoryService(ServiceSettings(TARGET), tmp_path / "ours").provide(control)
    file = tmp_path / "ours" / "authorized_clients" / "alice.auth"
    file.write_text(f"descriptor:x25519:{CLIENT.lower()}\n")
    provided = await DirectoryService(ServiceSettings(TARGET), tmp_path / "ours").provide(control)
    assert provided.warnings == (f"{file} lets in a client that the settings do not name",)
    named = ServiceSettings(TARGET, authorized_clients=(CLIENT,))
    assert (await DirectoryService(named, tmp_path / "ours").provide(control)).warnings == ()
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_leaves_no_client_by_halves(tmp_path: Path) -> None:
    place = Place(tmp_path / "ours", os.geteuid())
    with no_file_larger_than(0), pytest.raises(StoreError, match="authorized_clients: File too large"):
        authorized_clients.compare(place, (CLIENT,)).make()
    assert list((tmp_path / "ours" / "authorized_clients").iterdir()) == []
    authorized_clients.compare(place, (CLIENT,)).make()
    assert not authorized_clients.compare(place, (CLIENT,)).any


def test_clients_where_only_tor_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    place = Place(tmp_path / "ours", os.geteuid())
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert not authorized_clients.compare(place, ()).any
    place.tor_uid = 1
    with pytest.raises(SettingsError, match=re.escape("they belong to tor's user")) as caught:
        authorized_clients.compare(place, (CLIENT,))
    assert f"into a file NAME.auth in {tmp_path}/ours/authorized_clients" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
