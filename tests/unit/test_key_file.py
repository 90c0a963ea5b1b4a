"""The onion service's key: what it becomes in tor, how it is kept, and what is refused."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from file_limits import no_file_larger_than
from offline_tor import COOKIE, offline_tor

from onion_rdv.errors import KeyFileUnusable, StoreError
from onion_rdv.tor.control import connect
from onion_rdv.tor.onion_service.key_file import ServiceKey, load_or_create

if TYPE_CHECKING:
    from pathlib import Path

SEED = bytes(range(32))


async def test_tor_finds_the_same_address(tmp_path: Path) -> None:
    keys = [ServiceKey.from_seed(bytes([number]) * 32) for number in range(8)]
    with offline_tor(tmp_path, COOKIE) as tor:
        async with await connect(tor.control) as control:
            for key in [*keys, ServiceKey.generate()]:
                reply = await control.ask(f"ADD_ONION {key.blob} Flags=DiscardPK Port=80")
                assert f"{reply.lines[0].removeprefix('ServiceID=')}.onion" == key.address


def test_keys_differ_and_do_not_show_themselves() -> None:
    one, other = ServiceKey.generate(), ServiceKey.generate()
    assert one.address != other.address
    assert repr(one) == "ServiceKey()"


def test_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "onion.key"
    before = os.umask(0)
    try:
        key = load_or_create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = f"onion-rdv onion service key 1\n{key.address}\n{key.blob}\n"
    assert path.read_text() == f"{lines}{hashlib.sha256(lines.encode()).hexdigest()[:16]}\n"
    assert load_or_create(path) == key
    assert list(tmp_path.iterdir()) == [path]


def test_on_the_disk_and_closed_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced, closed to others, before it has its name, and the directory after that."""
    path = tmp_path / "key"
    synced = []
    fsync = os.fsync

    def watched_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append((stat.S_ISREG(status.st_mode), status.st_size > 0, path.exists()))
        assert stat.S_ISDIR(status.st_mode) or stat.S_IMODE(status.st_mode) == 0o600
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    load_or_create(path)
    assert synced == [(True, True, False), (False, True, True)]


def test_made_by_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(load_or_create, [path] * 32))
    assert len(set(keys)) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601, 0o620, 0o602, 0o666])
def test_open_to_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileUnusable, match=rf"{path} is open to other users \(mode {mode:04o}\)"):
        load_or_create(path)


def written(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


def test_every_damaged_character_is_noticed(tmp_path: Path) -> None:
    good = ServiceKey.from_seed(SEED).encode().encode()
    for place, character in enumerate(good):
        bad = good[:place] + bytes([character ^ 1]) + good[place + 1 :]
        path = written(tmp_path / "key", bad)
        with pytest.raises(KeyFileUnusable, match="is damaged or no key file"):
            load_or_create(path)
        assert path.read_bytes() == bad


def test_every_wrong_length_is_noticed(tmp_path: Path) -> None:
    good = ServiceKey.from_seed(SEED).encode().encode()
    for bad in [*(good[:length] for length in range(len(good))), good + b"\n", good * 10]:
        path = written(tmp_path / "key", bad)
        with pytest.raises(KeyFileUnusable, match="is damaged or no key file"):
            load_or_create(path)
        assert path.read_bytes() == bad


def test_an_unclamped_scalar_is_no_key(tmp_path: Path) -> None:
    for expanded in (
        b"\x01" + bytes(30) + b"\x40" + bytes(32),
        bytes(31) + b"\xc0" + bytes(32),
        bytes(30) + b"\x01" + bytes(33),
    ):
        path = written(tmp_path / "key", ServiceKey(expanded).encode().encode())
        with pytest.raises(KeyFileUnusable, match="is damaged or no key file"):
            load_or_create(path)


def test_the_message_shows_no_key(tmp_path: Path) -> None:
    key = ServiceKey.from_seed(SEED)
    path = written(tmp_path / "key", key.encode().encode()[:-5])
    with pytest.raises(KeyFileUnusable) as caught:
        load_or_create(path)
    assert key.blob[11:30] not in caught.value.message + caught.value.hint
    assert "restore it from a backup" in caught.value.hint


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileUnusable, match="is no plain file"):
        load_or_create(tmp_path / "pipe")
    (tmp_path / "directory").mkdir(0o700)
    with pytest.raises(KeyFileUnusable, match="is no plain file"):
        load_or_create(tmp_path / "directory")


def test_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnusable, match="No such file or directory"):
        load_or_create(tmp_path / "none" / "key")
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with no_file_larger_than(0), pytest.raises(StoreError, match=str(path)):
        load_or_create(path)
    assert list(tmp_path.iterdir()) == []
    load_or_create(path)


def test_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_create(path)
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
        with pytest.raises(KeyFileUnusable, match="belongs to another user"):
            load_or_create(path)
    path.chmod(0o000)
    with pytest.raises(KeyFileUnusable):
        load_or_create(path)
