"""A tor of our own, inside the private network."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from listening import listening_process

from onion_rdv.errors import NoTor, SettingsError, TorFailed
from onion_rdv.tor import control, own_tor
from onion_rdv.tor.testnet.plan import Authority, joining_torrc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onion_rdv.tor import testnet

TIMEOUT = 60

LAUNCHES_A_TOR = """
import asyncio, sys
from pathlib import Path
from onion_rdv.tor import own_tor

async def launch():
    tor = await own_tor.launch(Path(sys.argv[1]), socks=False, extra_torrc=Path(sys.argv[2]), timeout=60)
    print(tor.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(launch())
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / 'the "own" tor\'s # \\ data'


@pytest.fixture
def unreachable(tmp_path: Path) -> Path:
    """Write a torrc for a network whose only authority takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    authority = Authority("nobody", port, port, "0" * 40, "1" * 40)
    torrc = tmp_path / "unreachable"
    torrc.write_text(joining_torrc([authority]))
    return torrc


@asynccontextmanager
async def running(
    directory: Path | own_tor.DataDirectory, network: testnet.Network, *, socks: bool = False
) -> AsyncIterator[own_tor.OwnTor]:
    tor = await own_tor.launch(directory, socks=socks, extra_torrc=network.torrc, timeout=TIMEOUT)
    try:
        yield tor
    finally:
        await tor.stop()


def runs(pid: int) -> bool:
    """Say whether a process runs; one that has ended may stay listed until its parent takes note."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestLaunch:
    async def test_bootstraps_and_is_faster_the_second_time(self, data: Path, network: testnet.Network) -> None:
        seen: list[int] = []
        first = await own_tor.launch(
            data,
            socks=True,
            extra_torrc=network.torrc,
            progress=lambda percent, _what: seen.append(percent),
            timeout=TIMEOUT,
        )
        try:
            assert seen == sorted(seen)
            assert seen[-1] == 100
            assert data.stat().st_mode & 0o777 == 0o700
            async with await control.connect(first.control) as connection:
                assert await connection.socks_listeners() == [first.socks]
                assert await connection.info("process/pid") == str(first.pid)
                assert "ExtendedErrors" in str(await connection.conf("SocksPort"))
                assert await connection.conf("SafeLogging") == [("SafeLogging", "1")]
        finally:
            await first.stop()
        assert not runs(first.pid)
        assert "requesting_status" in (data / own_tor.LOG).read_text()

        async with running(data, network) as second:
            assert second.socks is None
            log = (data / own_tor.LOG).read_text()
            assert "Bootstrapped 100%" in log
            assert "requesting_status" not in log  # it had kept the consensus

    async def test_stop_is_harmless_when_tor_has_ended(self, data: Path, network: testnet.Network) -> None:
        tor = await own_tor.launch(data, socks=False, extra_torrc=network.torrc, timeout=TIMEOUT)
        assert tor.runs()
        os.kill(tor.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, tor.pid, os.WEXITED | os.WNOWAIT)
        assert not tor.runs()
        await tor.stop()
        assert not runs(tor.pid)

    async def test_stop_by_force(self, data: Path, network: testnet.Network) -> None:
        tor = await own_tor.launch(data, socks=False, extra_torrc=network.torrc, timeout=TIMEOUT)
        os.kill(tor.pid, signal.SIGSTOP)
        await tor.stop()
        assert not runs(tor.pid)


class TestTogether:
    async def test_two_clients_take_two_directories(self, data: Path, network: testnet.Network) -> None:
        directories = [own_tor.pick_free_directory(data), own_tor.pick_free_directory(data)]
        assert [directory.path for directory in directories] == [data / "0", data / "1"]
        async with running(directories[0], network, socks=True) as one:
            async with running(directories[1], network, socks=True) as other:
                assert one.socks != other.socks
                assert own_tor.pick_free_directory(data).path == data / "2"
            again = own_tor.pick_free_directory(data)
            assert again.path == data / "1"
            again.release()

    async def test_directory_in_use(self, data: Path, network: testnet.Network) -> None:
        directory = own_tor.DataDirectory(data)
        with pytest.raises(NoTor, match="another onion-rdv runs a tor of its own"):
            await own_tor.launch(data, socks=False, extra_torrc=network.torrc, timeout=TIMEOUT)
        directory.release()
        directory.release()
        own_tor.DataDirectory(data).release()

    async def test_tor_of_a_killed_parent(self, data: Path, network: testnet.Network) -> None:
        for _ in range(3):  # an orphan looks for its parent every 15 seconds, and may do so just then
            with subprocess.Popen(
                [sys.executable, "-c", LAUNCHES_A_TOR, str(data / "0"), str(network.torrc)], stdout=subprocess.PIPE
            ) as parent:
                assert parent.stdout is not None
                orphan = int(await asyncio.to_thread(parent.stdout.readline))
                parent.kill()
            other = own_tor.pick_free_directory(data)
            other.release()
            if runs(orphan):
                break
        assert runs(orphan)
        assert other.path == data / "1"

        seen: list[str] = []
        tor = await own_tor.launch(
            data / "0",
            socks=False,
            extra_torrc=network.torrc,
            progress=lambda _percent, what: seen.append(what),
            timeout=TIMEOUT,
        )
        await tor.stop()
        assert seen[0] == "waiting for the tor of an earlier run to end"
        assert not runs(orphan)


class TestFailing:
    async def test_without_tor(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(NoTor, match="tor is not on PATH") as refused:
            await own_tor.launch(data, socks=True, timeout=TIMEOUT)
        assert "apt install tor" in refused.value.hint

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("NoSuchOption 1", "Unknown option 'NoSuchOption'"),
            ("Bridge here", "Too few items to Bridge line.; Bridge line did not parse."),
            ("UseBridges 1", "If you set UseBridges, you must specify at least one bridge"),
        ],
    )
    async def test_tor_refuses_the_torrc(self, data: Path, tmp_path: Path, line: str, complaint: str) -> None:
        extra = tmp_path / "extra"
        extra.write_text(f"{line}\n")
        with pytest.raises(TorFailed, match=complaint):
            await own_tor.launch(data, socks=True, extra_torrc=extra, timeout=TIMEOUT)
        own_tor.DataDirectory(data).release()

    async def test_extra_lines_do_not_prevail(self, data: Path, tmp_path: Path, network: testnet.Network) -> None:
        elsewhere = tmp_path / "elsewhere"
        extra = tmp_path / "extra"
        extra.write_text(f"{network.torrc.read_text()}RunAsDaemon 1\nDataDirectory {elsewhere}\nSafeLogging 0\n")
        tor = await own_tor.launch(data, socks=False, extra_torrc=extra, timeout=TIMEOUT)
        await tor.stop()
        assert not elsewhere.exists()

    @pytest.mark.parametrize("content", [None, b"\xff\xfe"])
    async def test_unreadable_torrc(self, data: Path, tmp_path: Path, content: bytes | None) -> None:
        extra = tmp_path / "extra"
        if content is not None:
            extra.write_bytes(content)
        directory = own_tor.DataDirectory(data)
        with pytest.raises(SettingsError, match=r"cannot be read: (No such file or directory|it is not text)"):
            await own_tor.launch(directory, socks=True, extra_torrc=extra, timeout=TIMEOUT)
        own_tor.DataDirectory(data).release()

    async def test_unusable_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(NoTor, match="cannot be used: Not a directory"):
            await own_tor.launch(tmp_path / "file" / "data", socks=True, timeout=TIMEOUT)
        with pytest.raises(NoTor, match="cannot be used: Not a directory"):
            own_tor.pick_free_directory(tmp_path / "file")

    async def test_bootstrap_that_gets_stuck(self, data: Path, unreachable: Path) -> None:
        with pytest.raises(TorFailed, match=r"after 2 s it stands at \d+% \(.+\): \S+"):
            await own_tor.launch(data, socks=True, extra_torrc=unreachable, timeout=2)
        own_tor.DataDirectory(data).release()

    async def test_tor_that_ends_while_it_bootstraps(self, data: Path, unreachable: Path) -> None:
        killed: list[int] = []

        def kill(percent: int, what: str) -> None:
            port_file = data / "control-port"
            if port_file.exists() and not killed:  # a tor that is told twice may end without a word
                killed.append(listening_process(int(port_file.read_text().strip().rpartition(":")[2])))
                os.kill(killed[0], signal.SIGTERM)

        with pytest.raises(TorFailed, match="Catching signal TERM, exiting cleanly"):
            await own_tor.launch(data, socks=True, extra_torrc=unreachable, progress=kill, timeout=TIMEOUT)

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_cancelled(self, data: Path, unreachable: Path, at_once: bool) -> None:
        bootstrapping = asyncio.Event()
        launching = asyncio.create_task(
            own_tor.launch(
                data,
                socks=True,
                extra_torrc=unreachable,
                progress=lambda _percent, _what: bootstrapping.set(),
                timeout=TIMEOUT,
            )
        )
        if at_once:
            while not (data / "in-use").exists():
                await asyncio.sleep(0)
        else:
            await bootstrapping.wait()
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching
        directory = own_tor.DataDirectory(data)
        assert not directory.tor_is_running()
        directory.release()
