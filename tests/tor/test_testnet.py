"""The private network on real tor, and above all how it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from listening import listened_ports

from onion_rdv.errors import NoTor, TestnetFailed
from onion_rdv.tor import control, testnet
from onion_rdv.tor.testnet import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONION_RDV = [sys.executable, "-m", "onion_rdv", "testnet"]
RELAYS = 6  # three authorities among them
TORS = 8

HOLDS_A_NETWORK = """
import sys
from pathlib import Path
from onion_rdv.tor import testnet

with testnet.Keeper(base=Path(sys.argv[1])):
    sys.stdin.read()
"""


def wait_until(reached: Callable[[], bool], what: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain until {what}"
        time.sleep(0.02)


def command_lines() -> dict[int, str]:
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            found[int(process.name)] = b" ".join(words).decode(errors="replace")
    return found


def tors_in(base: Path) -> set[int]:
    """Find the tors that have their directories somewhere below one."""
    return {pid for pid, line in command_lines().items() if f"--defaults-torrc {base}/" in line}


def keeper_in(base: Path) -> int:
    [pid] = [
        pid for pid, line in command_lines().items() if "tor.testnet.keeper" in line and f"--base {base}" in line
    ]
    return pid


def assert_nothing_left(base: Path) -> None:
    wait_until(lambda: not tors_in(base), "all tors have ended")
    wait_until(lambda: not list(base.glob("rdv-testnet-*")), "the directory is removed")


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """Give a place for networks; whatever a test does, none may remain there."""
    base = tmp_path / 'a "base" with \\ and \''
    base.mkdir()
    yield base
    assert_nothing_left(base)


class TestUp:
    async def test_both_ends_have_bootstrapped_and_know_all_relays(self, network: testnet.Network) -> None:
        for address in (network.service_control, network.client_control):
            async with await control.connect(address) as connection:
                assert (await connection.bootstrap()).percent == 100
                assert (await connection.info("ns/all")).count("\nr ") + 1 == RELAYS

    async def test_addresses_are_what_tor_has(self, network: testnet.Network) -> None:
        async with await control.connect(network.client_control) as connection:
            assert await connection.socks_listeners() == [network.client_socks]
        async with await control.connect(network.service_control) as connection:
            assert await connection.socks_listeners() == []

    def test_environment_leads_to_it(self, network: testnet.Network) -> None:
        assert network.environment() == {
            "ONION_RDV_SOCKS": network.client_socks,
            "ONION_RDV_SOCKS_CONTROL": network.client_control,
            "ONION_RDV_CONTROL": network.service_control,
            "ONION_RDV_TORRC": str(network.torrc),
        }
        assert network.torrc.read_text().count("DirAuthority ") == 3

    def test_directory_is_private(self, network: testnet.Network) -> None:
        assert network.directory.stat().st_mode & 0o777 == 0o700

    async def test_all_relays_are_kept_in_touch(self, network: testnet.Network) -> None:
        """Each becomes the neighbour of each other in circuits that are built from now on."""
        names = [*plan.AUTHORITIES, *plan.relay_names(RELAYS - len(plan.AUTHORITIES))]
        relays = {(network.directory / name / "fingerprint").read_text().split()[1]: name for name in names}
        pairs = {frozenset(pair) for pair in itertools.combinations(names, 2)}
        [busy] = tors_in(network.directory / plan.BUSY)
        connection = await control.find([f"127.0.0.1:{port}" for port in listened_ports(busy)], timeout=5)
        assert connection is not None
        async with connection, asyncio.timeout(60):
            built = re.compile(r"^([0-9]+) BUILT (\S+)", re.MULTILINE)
            before = {circuit for circuit, _ in built.findall(await connection.info("circuit-status"))}
            while pairs:
                for circuit, path in built.findall(await connection.info("circuit-status")):
                    if circuit not in before:
                        hops = [plan.BUSY, *(relays[hop] for hop in re.findall(r"\$([0-9A-F]{40})", path))]
                        pairs -= {frozenset(pair) for pair in itertools.pairwise(hops)}
                await asyncio.sleep(0.1)

    async def test_service_tor_comes_back_where_it_was(self, keeper: testnet.Keeper) -> None:
        address = keeper.network.service_control
        async with await control.connect(address) as connection:
            before = await connection.info("process/pid")
            keeper.stop_tor("service")
            await connection.closed.wait()
        with pytest.raises(NoTor):
            await control.connect(address)
        keeper.start_tor("service")
        keeper.start_tor("service")  # it runs: nothing to do
        async with await control.connect(address) as connection:
            assert await connection.info("process/pid") != before
            assert (await connection.bootstrap()).percent == 100


class TestParentEnds:
    """Whatever ends the parent while the tors start, everything goes."""

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_by_a_signal(self, base: Path, number: signal.Signals) -> None:
        parent = subprocess.Popen(
            [sys.executable, "-c", HOLDS_A_NETWORK, str(base)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with parent:
            wait_until(lambda: len(tors_in(base)) == RELAYS, "the relays are started")
            parent.send_signal(number)
        assert parent.returncode == -number
        assert_nothing_left(base)

    def test_by_an_exception(self, base: Path) -> None:
        def give_up(percent: int, what: str) -> None:
            if tors_in(base):
                raise InterruptedError

        with pytest.raises(InterruptedError), testnet.Keeper(progress=give_up, base=base):
            pass
        assert not tors_in(base)
        assert not list(base.iterdir())


class TestKeeperEnds:
    def test_killed_it_takes_the_tors_along(self, base: Path) -> None:
        killed: list[int] = []

        def kill_keeper(percent: int, what: str) -> None:
            if not killed and len(tors_in(base)) == RELAYS:
                killed.append(keeper_in(base))
                os.kill(killed[0], signal.SIGKILL)

        with pytest.raises(TestnetFailed, match="its keeper has ended: it was killed"):
            testnet.Keeper(progress=kill_keeper, base=base).__enter__()
        assert not list(base.iterdir())
        wait_until(lambda: not tors_in(base), "all tors have ended")


def wrap_tor(directory: Path, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a tor first on PATH that is tor with more options when it is to run, rather than to tell its keys."""
    wrapper = directory / "bin" / "tor"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nPATH="{os.environ["PATH"]}"\n'
        f'case "$*" in *--list-fingerprint*) exec tor "$@";; *) exec tor "$@" {options};; esac\n'
    )
    wrapper.chmod(0o700)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)


class TestFailing:
    def test_without_tor(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(base))
        with pytest.raises(NoTor, match="tor is not on PATH") as refused:
            testnet.Keeper(base=base).__enter__()
        assert "apt install tor" in refused.value.hint
        assert not list(base.iterdir())

    def test_tor_that_ends_is_quoted(self, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        wrap_tor(tmp_path, "--Sandbox never", monkeypatch)
        with pytest.raises(TestnetFailed, match=r"the tor auth\d has ended: .*Sandbox"):
            testnet.Keeper(base=base).__enter__()
        assert not list(base.iterdir())

    def test_tor_that_does_not_come_up_and_its_logs_are_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrap_tor(tmp_path, "--DisableNetwork 1", monkeypatch)
        with pytest.raises(TestnetFailed, match=r"after 5 s the tor auth1 stands at 0%: \S+") as failed:
            testnet.Keeper(base=tmp_path, timeout=5, keep_logs=True).__enter__()
        [directory] = tmp_path.glob("rdv-testnet-*")
        assert str(directory) in failed.value.hint
        kept = sorted(str(path.relative_to(directory)) for path in directory.glob("*/*"))
        assert kept == [f"{name}/tor.log" for name in ("auth1", "auth2", "auth3", "relay1", "relay2", "relay3")]
        assert not tors_in(tmp_path)

    def test_authority_keys_that_cannot_be_made(
        self, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program = tmp_path / "bin" / "tor-gencert"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho the dice are gone >&2\nexit 1\n")
        program.chmod(0o700)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        with pytest.raises(TestnetFailed, match="making the authorities' keys: the dice are gone"):
            testnet.Keeper(base=base).__enter__()


@pytest.fixture
def surroundings(base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have commands put networks into ``base`` and remember them in a directory that is given."""
    monkeypatch.setenv("TMPDIR", str(base))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "state" / "onion-rdv"


def run_testnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ONION_RDV, *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.usefixtures("surroundings")
class TestRun:
    def test_own_network_input_and_interrupt(self, base: Path) -> None:
        script = 'trap "exit 42" INT; read line; echo "$line $ONION_RDV_SOCKS"; while :; do sleep 0.1; done'
        running = subprocess.Popen(
            [*ONION_RDV, "run", "--", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with running:
            assert running.stdin is not None
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdin.write("a line\n")
            running.stdin.flush()
            line, _, socks = running.stdout.readline().rpartition(" ")
            assert line == "a line"
            assert socks.startswith("127.0.0.1:")
            assert len(tors_in(base)) == TORS
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
            assert running.wait(60) == 42
            assert running.stdout.read() == ""
            assert "private Tor network: 100%" in running.stderr.read()
        assert not tors_in(base)
        assert not list(base.iterdir())

    def test_command_that_is_not_there(self) -> None:
        ended = run_testnet("run", "no-such-program", "--json")
        assert ended.returncode == 127
        assert "no-such-program: not found" in ended.stderr


class TestStaying:
    def test_up_status_run_and_a_killed_keeper(self, base: Path, surroundings: Path) -> None:
        with subprocess.Popen([*ONION_RDV, "up"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
            wait_until(lambda: bool(tors_in(base)), "the first tor is started")
            up = run_testnet("up")  # waits for the other
            assert first.communicate(timeout=60)[0] == up.stdout
        assert (first.returncode, up.returncode) == (0, 0)
        assert "waiting for process" in up.stderr
        exported = dict(line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines())
        assert set(exported) == {
            "ONION_RDV_SOCKS",
            "ONION_RDV_SOCKS_CONTROL",
            "ONION_RDV_CONTROL",
            "ONION_RDV_TORRC",
        }

        again = run_testnet("up", "--json")
        assert again.returncode == 0
        assert "up already" in again.stderr
        status = json.loads(again.stdout)
        assert status["phase"] == "up"
        assert status["bootstrap"] == {"service": 100, "client": 100}
        assert status["environment"]["ONION_RDV_SOCKS"] == exported["ONION_RDV_SOCKS"]
        assert set(status["tors"].values()) == tors_in(base)
        assert (surroundings / "testnet.json").stat().st_mode & 0o777 == 0o600

        ran = run_testnet("run", "sh", "-c", 'echo "$ONION_RDV_SOCKS"; exit 7')
        assert (ran.returncode, ran.stdout.strip()) == (7, exported["ONION_RDV_SOCKS"])
        assert run_testnet("run", "sh", "-c", "kill -9 $$").returncode == 128 + 9

        os.kill(status["tors"]["relay1"], signal.SIGKILL)
        wait_until(lambda: "relay1       has ended" in run_testnet("status").stdout, "status tells")

        os.kill(status["keeper_pid"], signal.SIGKILL)
        wait_until(lambda: not tors_in(base), "all tors have ended")
        after = run_testnet("status")
        assert (after.returncode, after.stdout) == (0, "down\n")
        assert f"what it had left in {status['network']['directory']} is removed" in after.stderr
        assert not list(base.iterdir())
        assert not list(surroundings.iterdir())

    def test_down_while_it_comes_up(self, base: Path, surroundings: Path) -> None:
        coming = subprocess.Popen([*ONION_RDV, "up", "--keep-logs"], stderr=subprocess.PIPE, text=True)
        with coming:
            wait_until(lambda: len(tors_in(base)) == RELAYS, "the relays are started")
            assert json.loads(run_testnet("status", "--json").stdout)["phase"] == "starting"
            down = run_testnet("down")
            assert "the private Tor network is down" in down.stderr
            assert coming.wait(60) == TestnetFailed.exit_code
            assert coming.stderr is not None
            assert "it was taken down meanwhile" in coming.stderr.read()
        assert not tors_in(base)
        assert not list(surroundings.iterdir())
        logs = Path(down.stderr.rpartition("tor's logs are in ")[2].removesuffix("\n"))
        assert {path.name for path in logs.glob("*/*")} == {"tor.log"}
        logs.rename(base.parent / "logs")

        nothing = run_testnet("down")
        assert nothing.returncode == 0
        assert "no private Tor network is up" in nothing.stderr
        nothing = run_testnet("down", "--json")
        assert json.loads(nothing.stdout) == {"was_up": False, "removed": None, "logs": None}

    def test_up_interrupted(self, base: Path, surroundings: Path) -> None:
        coming = subprocess.Popen([*ONION_RDV, "up"], stderr=subprocess.DEVNULL)
        with coming:
            wait_until(lambda: len(tors_in(base)) == RELAYS, "the relays are started")
            coming.send_signal(signal.SIGINT)
        assert coming.returncode == 128 + signal.SIGINT
        assert_nothing_left(base)
        assert not list(surroundings.iterdir())
