"""The machine's clock is set: what is said of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stores import until

from onion_rdv.rendezvous import clock_watch
from onion_rdv.rendezvous.clock_watch import ClockWatch, look_at_files, watching_the_clock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DAY = 86400


def test_a_clock_that_is_set_is_told_once_each_time() -> None:
    now = [1000.0, 5.0]
    watch = ClockWatch(lambda: now[0], lambda: now[1])
    now[:] = 1010.0, 15.0
    assert watch.look() is None
    now[:] = 1071.0, 17.0  # 59 seconds: nobody minds
    assert watch.look() is None
    now[0] += DAY
    assert "set forward by 86400 seconds" in str(watch.look())
    assert watch.look() is None
    now[0] -= 2 * DAY
    assert "set back by 172800 seconds" in str(watch.look())
    assert watch.look() is None


def test_files_from_the_future(tmp_path: Path) -> None:
    now = time.time()
    assert look_at_files(tmp_path, now) is None
    assert look_at_files(tmp_path / "missing", now) is None
    (tmp_path / "store").touch()
    assert look_at_files(tmp_path, now) is None
    assert "timedatectl" in str(look_at_files(tmp_path, now - DAY))


async def test_it_is_logged_while_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").touch()
    os.utime(tmp_path / "store", (time.time() + DAY,) * 2)
    looks = iter([None, "it was set", None, "it was set again"])
    monkeypatch.setattr(clock_watch, "_EVERY", 0)
    monkeypatch.setattr(ClockWatch, "look", lambda _: next(looks, None))
    async with watching_the_clock(tmp_path):
        await until(lambda: len(caplog.messages) == 3)
    assert "behind the one by which files" in caplog.messages[0]
    assert caplog.messages[1:] == ["it was set", "it was set again"]
