"""What a HiddenServiceDir behind an Onionbalance needs, on a real tor that has no network."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from command_line import environment, onion_rdv
from file_limits import no_file_larger_than
from offline_tor import COOKIE, OfflineTor, offline_tor

from onion_rdv.errors import SettingsError, StoreError
from onion_rdv.protocol import encode_onion_address
from onion_rdv.rendezvous.settings import ServerSettings
from onion_rdv.tor.control import Control, connect
from onion_rdv.tor.onion_service import DirectoryService, ServiceSettings
from onion_rdv.tor.onion_service.balanced import FILE, settle
from onion_rdv.tor.onion_service.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

FRONT = encode_onion_address(bytes(range(32)))
OTHER = encode_onion_address(bytes(32))
INSTANCE = ("HiddenServiceOnionBalanceInstance", "1")
SERVICE = ServiceSettings("127.0.0.1:8080", proof_of_work=False)


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[OfflineTor]:
    with offline_tor(tmp_path / "tor", COOKIE) as running:
        yield running


@pytest.fixture
async def control(tor: OfflineTor) -> AsyncIterator[Control]:
    async with await connect(tor.control) as opened:
        yield opened


async def options(control: Control) -> list[tuple[str, str]]:
    return await control.conf("HiddenServiceOptions")


async def test_a_new_directory_is_made_ready_before_tor_has_it(tmp_path: Path, control: Control) -> None:
    provided = await DirectoryService(SERVICE, tmp_path / "ours", front=FRONT).provide(control)
    assert provided.fresh
    assert provided.address != FRONT
    assert INSTANCE in await options(control)
    assert (tmp_path / "ours" / FILE).read_text() == f"MasterOnionAddress {FRONT}\n"
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o700
    again = await DirectoryService(SERVICE, tmp_path / "ours", front=FRONT).provide(control)
    assert again.address == provided.address
    assert not again.fresh


async def test_a_service_that_tor_has_gets_a_front_and_loses_it_again(tmp_path: Path, control: Control) -> None:
    alone = await DirectoryService(SERVICE, tmp_path / "ours").provide(control)
    behind = await DirectoryService(SERVICE, tmp_path / "ours", front=FRONT).provide(control)
    assert behind.address == alone.address
    assert INSTANCE in await options(control)
    await DirectoryService(SERVICE, tmp_path / "ours").provide(control)
    assert INSTANCE not in await options(control)


async def test_an_operators_own_file_is_taken_as_it_is(tmp_path: Path, control: Control) -> None:
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o700)
    own = f"# ours\nmasteronionaddress {OTHER.upper()}\n\nMasterOnionAddress {FRONT} # the front\n"
    (directory / FILE).write_text(own)
    settle(Place(directory, os.geteuid()), FRONT)
    settle(Place(directory, os.geteuid()), OTHER)
    assert (directory / FILE).read_text() == own


@pytest.mark.parametrize("content", ["", "MasterOnionAddress\n", "Other x.onion\n"])
async def test_a_file_that_names_nobody_never_reaches_tor(tmp_path: Path, control: Control, content: str) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "ours" / FILE).write_text(content)
    with pytest.raises(SettingsError, match=f"introductions for nobody, and the front is {FRONT}") as caught:
        await DirectoryService(SERVICE, tmp_path / "ours", front=FRONT).provide(control)
    assert "restart tor" in caught.value.hint
    assert await options(control) == []


def test_a_directory_that_only_tor_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o750)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SettingsError, match="cannot be written by this user") as caught:
        settle(Place(directory, os.geteuid()), FRONT)
    assert f"MasterOnionAddress {FRONT}" in caught.value.hint


def test_a_full_disk_leaves_no_file_that_names_nobody(tmp_path: Path) -> None:
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o700)
    with no_file_larger_than(0), pytest.raises(StoreError, match=f"{FILE}: File too large"):
        settle(Place(directory, os.geteuid()), FRONT)
    assert list(directory.iterdir()) == []
    settle(Place(directory, os.geteuid()), FRONT)
    assert (directory / FILE).read_text() == f"MasterOnionAddress {FRONT}\n"


def test_what_a_front_cannot_do_with(tmp_path: Path) -> None:
    without_directory = ServerSettings(tmp_path, front=FRONT)
    private = ServerSettings(tmp_path, front=FRONT, onion_service_dir=tmp_path, authorized_clients=("A" * 52,))
    for settings in (without_directory, private):
        with pytest.raises(SettingsError, match="needs a HiddenServiceDir, and cannot have authorized clients"):
            settings.way(tmp_path / "socket")


async def test_the_settings_name_the_front(tmp_path: Path, tor: OfflineTor) -> None:
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o700)
    (directory / FILE).write_text(f"MasterOnionAddress {OTHER}\n")
    env = environment(tmp_path, ONION_RDV_CONTROL=tor.control)
    words = ["serve", "--onion-service-dir", str(directory), "--front"]
    wrong = await onion_rdv(*words, FRONT.upper(), env=env)
    assert (wrong.code, wrong.stdout) == (2, "")
    assert f"introductions for {OTHER}, and the front is {FRONT}" in wrong.stderr
    assert "several servers behind one front need one database" in wrong.stderr
    malformed = await onion_rdv(*words, FRONT.replace("a", "b"), env=env)
    assert (malformed.code, malformed.stdout) == (2, "")
    assert "not a v3 onion address" in malformed.stderr
