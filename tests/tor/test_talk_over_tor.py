"""Talks over a real Tor network, through the real command line: both orders, circuits that are cut, nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest
from command_line import environment, onion_rdv
from server_process import serving
from talk_process import TalkProcess

from onion_rdv.tor import control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

MESSAGES = 40
COUNTS = ("SELECT count(*) FROM queue", "SELECT count(*) FROM link", "SELECT count(*) FROM message")


@pytest.fixture
async def env(network: Network, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Use the private network, with a rendezvous server and a messaging server on it; nothing may be left there."""
    env = environment(tmp_path, **network.environment())
    async with serving(env=env) as rendezvous, serving(env=env, words=("messaging", "serve")) as messaging:
        yield env | {"ONION_RDV_SERVER": rendezvous.name, "ONION_RDV_MESSAGING_SERVER": messaging.name}
    with closing(sqlite3.connect(tmp_path / ".local/state/onion-rdv/messaging/queues.sqlite")) as store:
        left = [store.execute(count).fetchone()[0] for count in COUNTS]
    assert left == [0, 0, 0]


@asynccontextmanager
async def meeting(env: dict[str, str]) -> AsyncIterator[tuple[TalkProcess, TalkProcess]]:
    """Let two people meet who have each other's invite in one channel."""
    async with TalkProcess.running("--one-channel", env=env) as one:
        offered = await one.hears_of("invite")
        async with TalkProcess.running(offered["invite"], env=env) as other:
            assert (await one.hears_of("met"))["code"] == (await other.hears_of("met"))["code"]
            yield one, other


async def cut_circuits(network: Network) -> int:
    """Close every circuit of the clients' tor that has a stream; gives how many there were."""
    async with await control.connect(network.client_control) as tor:
        streams = (await tor.info("stream-status")).splitlines()
        circuits = {line.split()[2] for line in streams if line.split()[1] == "SUCCEEDED"}
        for circuit in circuits:
            await tor.msg(f"CLOSECIRCUIT {circuit}")  # it may have ended by itself meanwhile
    return len(circuits)


async def test_two_people_talk_and_leave_nothing_behind(env: dict[str, str], tmp_path: Path) -> None:
    async with TalkProcess.running(env=env) as one:
        offered = await one.hears_of("invite")
        secret = tmp_path / "passphrase"
        secret.write_text(offered["passphrase"])
        words = (offered["invite"], "--passphrase-file", str(secret))
        async with TalkProcess.running(*words, env=env) as other:
            code = (await one.hears_of("met"))["code"]
            assert (await other.hears_of("met"))["code"] == code
            for end in (one, other):
                end.order(same=True)
                end.order(say="good evening \N{CRESCENT MOON}")
            for end in (one, other):
                await end.hears_of("compared")
                await end.hears_of("arrived")
                await end.hears_of("said")  # the other's, which may come later than what tells that ours arrived
                assert end.heard == ["good evening \N{CRESCENT MOON}"]
            other.order(quit=True)
            await one.hears_of("left")
            assert (await one.end(), await other.end()) == (0, 0)


async def test_the_one_who_began_may_be_away_when_the_other_comes(env: dict[str, str]) -> None:
    async with TalkProcess.running("--one-channel", env=env) as one:
        offered = await one.hears_of("invite")
        os.kill(one.process.pid, signal.SIGSTOP)
        async with TalkProcess.running(offered["invite"], env=env) as other:
            other.order(say="hello")
            other.end_input()
            while not any("waiting for the other's answer" in line for line in other.said):
                await asyncio.sleep(0.1)
            os.kill(one.process.pid, signal.SIGCONT)
            await one.until(lambda: one.heard == ["hello"])
            one.end_input()
            assert (await one.end(), await other.end()) == (0, 0)


async def test_nothing_is_lost_or_repeated_when_circuits_are_cut(env: dict[str, str], network: Network) -> None:
    async with meeting(env) as (one, other):
        cut = 0
        for number in range(MESSAGES):
            one.order(say=f"one {number}")
            other.order(say=f"other {number}")
            if number % 10 == 5:
                await one.until(lambda number=number: len(one.of("sent")) >= number - 4)  # type: ignore[misc]
                cut += await cut_circuits(network)
        for end in (one, other):
            await end.hears_of("arrived", MESSAGES)
        assert cut >= 4
        assert other.heard == [f"one {number}" for number in range(MESSAGES)]
        assert one.heard == [f"other {number}" for number in range(MESSAGES)]
        assert one.of("reconnected")
        assert other.of("reconnected")
        one.order(quit=True)
        assert (await one.end(), await other.end()) == (0, 0)


async def test_a_pipe_through_tor(env: dict[str, str]) -> None:
    async with TalkProcess.running("--one-channel", env=env) as one:
        offered = await one.hears_of("invite")
        one.end_input()
        result = await onion_rdv("talk", offered["invite"], env=env, stdin="hi\n")
        assert (result.code, result.stdout) == (0, ""), result.stderr
        assert await one.end() == 0
        assert one.heard == ["hi"]
        late = await onion_rdv("talk", offered["invite"], env=env, stdin="hi\n")
        assert late.code == 8


async def test_a_talk_that_nobody_joins(env: dict[str, str]) -> None:
    async with TalkProcess.running("--one-channel", env=env) as one:
        await one.hears_of("invite")
        one.process.send_signal(signal.SIGINT)
        assert await one.end() == 0
