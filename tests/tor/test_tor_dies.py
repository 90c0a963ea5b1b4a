"""Tor is killed in the middle of a step: the command says so and ends, hands out nothing, and goes nowhere else."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from command_line import Result, environment, onion_rdv
from forwarding import served
from server_process import serving
from talk_process import TalkProcess
from tracing import addresses_of, lookups_in, tracer
from watched_socks import WatchedSocks

from onion_rdv.tor import own_tor
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from onion_rdv.tor.testnet import Keeper, Network

LINK = "simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h=smp.invalid"
GONE = "no Tor was found: nothing answers at the SOCKS port"
PATIENCE = 60


@dataclass
class Doomed:
    """A tor, at ``socks``, that can be killed; ``kill`` does it."""

    socks: str
    kill: Callable[[], None]
    directory: Path
    traces: list[Path] = field(default_factory=list)

    def recorder(self) -> tuple[str, ...]:
        """Give the wrapper that writes down what a program does."""
        self.traces.append(self.directory / f"{len(self.traces)}.trace")
        return tracer(self.traces[-1])

    async def __call__(self, *words: str, env: dict[str, str], stdin: str = "") -> Result:
        """Run a command on this tor."""
        return await onion_rdv(
            *words, env=env | {"ONION_RDV_SOCKS": self.socks}, stdin=stdin, wrapper=self.recorder()
        )


@pytest.fixture
async def env(network: Network, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Use the private network, with a rendezvous server and a messaging server on it."""
    env = environment(tmp_path, **network.environment())
    words = ("messaging", "serve")
    async with serving(env=env) as rendezvous, serving(env=env, words=words) as messaging:
        yield env | {"ONION_RDV_SERVER": rendezvous.name, "ONION_RDV_MESSAGING_SERVER": messaging.name}


@asynccontextmanager
async def doomed(network: Network, directory: Path, *, in_stream: int = 0) -> AsyncIterator[Doomed]:
    """Run a tor that is killed when it gets the first bytes of an answer for the n-th time, or by hand.

    Afterwards it must be dead, and its clients must have asked nobody but it.
    """
    tor = await own_tor.launch(directory / "tor", socks=True, extra_torrc=network.torrc, timeout=PATIENCE)
    assert tor.socks is not None
    is_dead = False

    def kill() -> None:
        nonlocal is_dead
        is_dead = True
        os.kill(tor.pid, signal.SIGKILL)
        stop_listening()

    def come(number: int) -> None:
        if number == in_stream:
            kill()
        if is_dead:
            raise ConnectionResetError

    watch = WatchedSocks(SocksPort.parse(tor.socks), come)
    port = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{port.getsockname()[1]}"
    try:
        async with served([(port, watch.serve)]) as stop_listening:
            one = Doomed(address, kill, directory)
            yield one
            assert is_dead
    finally:
        await tor.stop()
    assert [addresses_of(trace) for trace in one.traces] == [{address}] * len(one.traces)
    assert not any(lookups_in(trace) for trace in one.traces)


async def test_while_a_link_is_handed_over(env: dict[str, str], network: Network, tmp_path: Path) -> None:
    for stream, step in (1, "leaving it"), (2, "fetching it again"):
        async with doomed(network, tmp_path, in_stream=stream) as tor:
            left = await tor("offer", "-", "--one-channel", env=env, stdin=LINK)
        assert (left.code, left.stdout) == (3, ""), left.stderr
        assert step in left.stderr.splitlines()[-3]
        assert GONE in left.stderr

    link = f"http://{env['ONION_RDV_SERVER']}/"  # a server that answers
    offered = await onion_rdv("offer", "-", "--one-channel", env=env, stdin=link)
    async with doomed(network, tmp_path, in_stream=1) as tor:
        fetched = await tor("accept", "-", env=env, stdin=offered.stdout)
    assert (fetched.code, fetched.stdout) == (3, ""), fetched.stderr
    assert GONE in fetched.stderr
    for more in ([], ["--probe=require"]):
        async with doomed(network, tmp_path, in_stream=2) as tor:
            asked = await tor("accept", "-", *more, env=env, stdin=offered.stdout)
        assert (asked.code, asked.stdout) == (3, f"{link}\n"), asked.stderr
        assert GONE in asked.stderr


async def test_while_two_people_talk(env: dict[str, str], network: Network, tmp_path: Path) -> None:
    """A tor that is restarted is waited for, but not longer than for anything else."""
    async with doomed(network, tmp_path, in_stream=1) as tor:
        begun = await tor("talk", "--one-channel", env=env)
    assert (begun.code, begun.stdout) == (3, ""), begun.stderr
    assert GONE in begun.stderr

    async with doomed(network, tmp_path) as tor:
        env |= {"ONION_RDV_SOCKS": tor.socks, "ONION_RDV_TIMEOUT": "45"}
        async with TalkProcess.running("--one-channel", env=env, wrapper=tor.recorder()) as one:
            offered_talk = await one.hears_of("invite")
            async with TalkProcess.running(offered_talk["invite"], env=env, wrapper=tor.recorder()) as other:
                await other.hears_of("met")
                tor.kill()
                one.order(say="never arrives")
                assert (await one.end(), await other.end()) == (3, 3)
                assert one.of("disconnected")
                assert "begin a new talk" in "\n".join(one.said)
                assert other.heard == []


async def test_while_servers_run(network: Network, keeper: Keeper, tmp_path: Path) -> None:
    """They wait for their tor, and for no other."""
    env = environment(tmp_path, **network.environment())
    traces = [tmp_path / "rendezvous.trace", tmp_path / "messaging.trace"]
    first, second = map(tracer, traces)
    words = ("messaging", "serve")
    async with (
        serving(env=env, wrapper=first) as rendezvous,
        serving(env=env, wrapper=second, words=words) as messaging,
    ):
        await asyncio.to_thread(keeper.restart_tor)
        for server in rendezvous, messaging:
            await server.wait_for("onion service: published", times=2)
    assert [addresses_of(trace) for trace in traces] == [{network.service_control}] * 2
    assert not any(lookups_in(trace) for trace in traces)
