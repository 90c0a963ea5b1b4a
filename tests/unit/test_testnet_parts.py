"""The parts of the private network that need no tor: torrcs, logs, ports, the state file."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from onion_rdv.errors import NoTor, TestnetFailed
from onion_rdv.tor import testnet, torlog
from onion_rdv.tor.testnet import plan, state, traffic
from onion_rdv.tor.testnet.ports import ReservedPorts
from onion_rdv.tor.testnet.programs import find_programs
from onion_rdv.tor.torrc import quote

AUTHORITY = plan.Authority("auth1", 5001, 5002, "A" * 40, "B" * 40)


class TestPlan:
    def test_authority_line(self) -> None:
        assert AUTHORITY.line() == (
            f"DirAuthority auth1 orport=5001 no-v2 v3ident={'A' * 40} 127.0.0.1:5002 {'B' * 40}\n"
        )

    def test_who_joins_gets_the_network_and_steady_timeouts(self) -> None:
        joining = plan.joining_torrc([AUTHORITY]).splitlines()
        assert {"TestingTorNetwork 1", "LearnCircuitBuildTimeout 0", "CircuitBuildTimeout 3"} < set(joining)
        assert AUTHORITY.line().strip() in joining

    def test_relays_keep_the_learned_timeout(self) -> None:
        assert "CircuitBuildTimeout" not in plan.network_torrc([AUTHORITY]) + plan.relay_torrc(1)

    @pytest.mark.parametrize("second", [0, 19, 20, 1_790_000_007])
    def test_first_consensus_is_at_a_voting_time(self, second: int) -> None:
        lines = plan.authority_torrc(1, 2, second).splitlines()
        [offset] = [int(line.split()[1]) for line in lines if line.startswith("TestingV3AuthVotingStartOffset ")]
        assert (second - offset) % plan.VOTING_INTERVAL == 0
        assert 0 <= offset < plan.VOTING_INTERVAL

    @pytest.mark.parametrize(("key_seconds", "lead"), [(0, 9), (1.9, 9), (2, 10), (8.5, 13), (17.9, 17), (600, 18)])
    def test_first_consensus_is_later_where_keys_took_long(self, key_seconds: float, lead: int) -> None:
        assert plan.lead(key_seconds) == lead
        assert lead < plan.VOTING_INTERVAL  # or there would be one before
        torrc = plan.patient_relay_torrc(1, lead)
        assert f"TestingServerConsensusDownloadInitialDelay {lead + 1}\n" in torrc

    def test_everything_listens_on_loopback(self) -> None:
        torrc = plan.authority_torrc(1, 2, 3) + plan.client_torrc(4, 5) + plan.service_torrc(6)
        ports = [line for line in torrc.splitlines() if "Port " in line and not line.endswith(" 0")]
        assert len(ports) == 5
        assert all(" 127.0.0.1:" in line for line in ports)

    def test_tor_ends_with_its_keeper(self) -> None:
        assert "__OwningControllerProcess 77\n" in plan.own_torrc(Path("/d"), "relay1", 77)

    def test_relay_names(self) -> None:
        assert plan.relay_names(2) == ("relay1", "relay2")

    def test_quoting(self) -> None:
        assert quote(Path('/a "b" \\c # d')) == '"/a \\"b\\" \\\\c # d"'


class TestTraffic:
    @pytest.mark.parametrize("relays", range(1, 21))
    def test_every_two_relays_become_neighbours(self, relays: int) -> None:
        some = list(itertools.islice(traffic.paths(relays), relays * (1 + relays // 8)))
        neighbours = {frozenset(pair) for path in some for pair in itertools.pairwise(path)}
        assert neighbours == {frozenset(pair) for pair in itertools.combinations(range(relays), 2)}
        assert {path[0] for path in some} == set(range(relays))
        assert all(1 <= len(path) <= 8 and len(set(path)) == len(path) for path in some)

    def test_a_relay_that_is_not_there_is_not_waited_for(self, tmp_path: Path) -> None:
        with ReservedPorts() as ports:
            (tmp_path / "fingerprint").write_text(f"relay1 {'A' * 40}\n")
            idle = traffic.Traffic(ports.take(), tmp_path, [tmp_path])
            idle.step()
            idle.step()
            idle.close()


STAMP = "Nov 22 22:20:23.000 "


class TestLog:
    def test_bootstrap(self) -> None:
        line = f"{STAMP}[notice] Bootstrapped 45% (requesting_descriptors): Asking for relay descriptors"
        assert torlog.bootstrap(line) == (45, "asking for relay descriptors")
        assert torlog.bootstrap(f"{STAMP}[notice] Bootstrapped 100%: Done") == (100, "done")
        assert torlog.bootstrap(f"{STAMP}[notice] Bootstrapped 5%") == (5, "")

    @pytest.mark.parametrize(
        "line", ["", "Bootstrapped 5%", f"{STAMP}[warn] Bootstrapped 5%", f"{STAMP}[notice] Boo"]
    )
    def test_no_bootstrap(self, line: str) -> None:
        assert torlog.bootstrap(line) is None

    def test_refusal(self) -> None:
        first = f"{STAMP}[warn] You are running Tor as root"
        vague = f"{STAMP}[warn] Failed to parse/validate config: Bridge line did not parse. See logs for details."
        last = f"{STAMP}[err] Reading config failed--see warnings above."
        assert torlog.refusal([]) == ""
        assert torlog.refusal([f"{STAMP}[notice] hello", last]) == ""
        assert torlog.refusal([f"{STAMP}[warn] Failed to parse/validate config: Unknown option 'X'.", last]) == (
            "Unknown option 'X'."
        )
        assert torlog.refusal([vague, last]) == "Bridge line did not parse."
        assert torlog.refusal([first, f"{STAMP}[warn] Too few items", vague, last]) == (
            "Too few items; Bridge line did not parse."
        )

    def test_follower_takes_whole_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "tor.log"
        log = torlog.Follower(path)
        log.read()
        assert log.bootstrap == (0, "starting")
        path.write_text(f"{STAMP}[warn] TestingTorNetwork is set\n{STAMP}[notice] Bootstrap")
        log.read()
        assert (log.problem, log.bootstrap.percent) == ("TestingTorNetwork is set", 0)
        with path.open("a") as more:
            more.write(f"ped 0% (starting): Starting\n{STAMP}[notice] Bootstrapped 10% (conn): Going\n")
        log.read()
        assert (log.problem, log.bootstrap) == ("", (10, "going"))
        assert log.last_line == "[notice] Bootstrapped 10% (conn): Going"
        with path.open("a") as more:
            more.write(f"{STAMP}[notice] Bootstrapped 100% (done): Done\n")
        log.begin_run()
        log.read()
        assert (log.bootstrap, log.last_line) == ((0, "starting"), "")


class TestPorts:
    def test_stay_free_for_who_names_them_only(self) -> None:
        with ReservedPorts() as ports:
            taken = {ports.take() for _ in range(50)}
            assert len(taken) == 50
            for port in taken:
                with socket.socket() as stranger, pytest.raises(OSError, match="Address already in use"):
                    stranger.bind(("127.0.0.1", port))
                for _ in range(2):  # as tor does, also after a restart
                    with socket.create_server(("127.0.0.1", port)):
                        pass
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", taken.pop()))


class TestPrograms:
    def test_the_missing_one_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tor = tmp_path / "tor"
        tor.touch(mode=0o700)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NoTor, match="tor-gencert is not on PATH"):
            find_programs()


NETWORK = testnet.Network(
    directory=Path("/d"),
    client_socks="127.0.0.1:1",
    client_control="127.0.0.1:2",
    service_control="127.0.0.1:3",
    torrc=Path("/d/torrc"),
    keeper_pid=4,
)


def test_network_survives_json() -> None:
    assert testnet.Network.from_json(json.loads(json.dumps(NETWORK.to_json()))) == NETWORK


class TestStateFile:
    def test_one_holds_it(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "testnet.json"
        assert state.StateFile.claim(path, create=False) is None
        assert not path.parent.exists()
        held = state.StateFile.claim(path, create=True)
        assert held is not None
        assert path.stat().st_mode & 0o777 == 0o600
        assert state.StateFile.claim(path, create=True) is None
        assert state.read(path) == {}
        held.write({"a long": "content"})
        held.write({"b": 1})
        assert state.read(path) == held.read() == {"b": 1}
        held.remove()
        assert not path.exists()
        assert state.read(path) == {}

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "testnet.json").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(TestnetFailed, match="cannot be used: Too many levels of symbolic links"):
            state.StateFile.claim(tmp_path / "testnet.json", create=True)
        assert not (tmp_path / "elsewhere").exists()


def make_network(directory: Path) -> None:
    for name in ("relay1", "client"):
        (directory / name / "keys").mkdir(parents=True)
        (directory / name / "keys" / "key").touch()
        (directory / name / plan.LOG).touch()
    (directory / state.MARK).touch()


class TestRemoving:
    def test_all(self, tmp_path: Path) -> None:
        make_network(tmp_path / "network")
        assert state.remove_network(tmp_path / "network")
        assert not list(tmp_path.iterdir())

    def test_all_but_logs(self, tmp_path: Path) -> None:
        make_network(tmp_path)
        (tmp_path / state.LOGS_KEPT).touch()
        assert state.remove_network(tmp_path)
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {"relay1/tor.log", "client/tor.log"}

    def test_nothing_that_is_no_network(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert not state.remove_network(tmp_path)
        assert not state.remove_network(tmp_path / "file")
        assert not state.remove_network(tmp_path / "nowhere")
        assert (tmp_path / "file").exists()


class TestStanding:
    """What a keeper that was killed left behind, and one that still comes up."""

    def test_left_behind(self, tmp_path: Path) -> None:
        make_network(tmp_path / "network")
        path = tmp_path / "testnet.json"
        path.write_text(json.dumps({"phase": "up", "keeper_pid": os.getpid(), "directory": f"{tmp_path}/network"}))
        assert testnet.status(path) == testnet.Status("down", removed=tmp_path / "network")
        assert testnet.status(path) == testnet.Status("down")
        assert not list(tmp_path.iterdir())

    def test_killed_before_it_wrote(self, tmp_path: Path) -> None:
        path = tmp_path / "testnet.json"
        path.touch()
        assert testnet.down(path) == testnet.Status("down")
        assert not path.exists()

    def test_coming_up(self, tmp_path: Path) -> None:
        path = tmp_path / "testnet.json"
        directory = tmp_path / "network"
        make_network(directory)
        (directory / "client" / plan.LOG).write_text(f"{STAMP}[notice] Bootstrapped 30% (loading_status): Loading\n")
        content = {"phase": "starting", "keeper_pid": 7, "directory": str(directory), "keep_logs": True}
        with path.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.write(json.dumps(content))
            held.flush()
            seen = testnet.status(path)
        assert seen == testnet.Status(
            "starting", keeper_pid=7, bootstrap={"service": 0, "client": 30}, logs=directory
        )

    def test_down_signals_nothing_but_a_keeper(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("onion_rdv.tor.testnet.standing._DOWN_TIMEOUT", 0.1)
        path = tmp_path / "testnet.json"
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
            with path.open("w") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                held.write(json.dumps({"phase": "starting", "keeper_pid": bystander.pid}))
                held.flush()
                with pytest.raises(TestnetFailed, match=f"its keeper .process {bystander.pid}. does not end"):
                    testnet.down(path)
            bystander.communicate(b"\n")
        assert bystander.returncode == 0
