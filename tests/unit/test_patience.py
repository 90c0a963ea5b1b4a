"""A server that is busy is asked again, a while later, and not by everybody at once."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

import pytest
from command_line import environment, onion_rdv
from socks_proxy import RecordingSocks
from test_client import KEY, LINK, PASSPHRASE, SERVER, FakeServer

from onion_rdv import errors
from onion_rdv.cli.main import main
from onion_rdv.client import patience
from onion_rdv.client.accept import Acceptance
from onion_rdv.client.offer import offer
from onion_rdv.client.patience import Patience, pause_after
from onion_rdv.protocol import ENTRY_SIZE, Limits, encode_onion_address
from onion_rdv.protocol.exchange import Problem, problem_reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUSY = (Problem.BUSY, Problem.INTERNAL, Problem.TIMEOUT)


def busy_at(*tries: int) -> Callable[[bytes], bytes]:
    """Give a twist of a server's replies that makes those tries busy."""
    numbers, problems = itertools.count(), itertools.cycle(BUSY)

    def twist(reply: bytes) -> bytes:
        return problem_reply(next(problems)) if next(numbers) in tries else reply

    return twist


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.001)


def test_pauses_grow_and_scatter() -> None:
    assert [pause_after(tries, 0.5) for tries in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert pause_after(10**6, 0) == 15
    for tries in range(1, 8):
        scattered = [pause_after(tries, random.Random(seed).random()) for seed in range(100)]
        assert max(scattered) - min(scattered) > 0.9 * pause_after(tries, 0.5)
        assert min(scattered) >= 0.5 * pause_after(tries, 0.5)


@pytest.mark.usefixtures("short_pauses")
async def test_a_busy_server_is_asked_again_with_everything_new() -> None:
    server = FakeServer(twist_stored=busy_at(0, 1, 2), twist_fetched=busy_at(0))
    said: list[str] = []
    async with RecordingSocks([server]) as proxy:
        offered = await offer(LINK, PASSPHRASE, SERVER, proxy.socks, limits=Limits(), timeout=20, step=said.append)
        assert len([words for words in said if "busy" in words]) == 4
        assert len(server.requests) == 6
        assert len({request[-ENTRY_SIZE:] for request in server.requests}) == 6, "no entry and no padding twice"
        circuits = [request.credentials for request in proxy.connects]
        assert len(set(circuits)) == len(circuits), "and no circuit"
        assert len(circuits) in {6, 7}, "where the second of those built ahead stood already, it was given up"

        server.twist_fetched = busy_at(0, 1)
        said.clear()
        acceptance = Acceptance(offered.invite, proxy.socks, timeout=20, step=said.append)
        assert await acceptance.open(PASSPHRASE) == LINK
        assert len([words for words in said if "busy" in words]) == 2


async def test_a_server_that_stays_busy_is_given_up_before_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "pause_after", lambda tries, _chance: 1000 if tries == 3 else 0)
    server = FakeServer(twist_stored=lambda _: problem_reply(Problem.BUSY))
    async with RecordingSocks([server]) as proxy:
        with pytest.raises(errors.ServerBusy, match="it said 3 times within 90 seconds that it is busy") as busy:
            await offer(LINK, PASSPHRASE, SERVER, proxy.socks, limits=Limits(), timeout=90, step=print)
    assert len(server.requests) == 3
    assert (busy.value.exit_code, "--timeout" in busy.value.hint) == (4, True)


def test_a_last_try_that_came_too_late_says_less_than_those_before() -> None:
    silent, lasting = errors.ServerUnreachable("silence"), Patience(0, print)
    assert lasting.end(silent) is silent
    with pytest.raises(errors.ServerBusy):
        asyncio.run(lasting.outlast(errors.ServerBusy()))
    assert isinstance(lasting.end(silent), errors.ServerBusy)


async def test_chance_decides_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    chances = [0.0, 0.5, 1.0, 0.0]
    lasting = Patience(100, lambda _: None, iter(chances).__next__)
    for _ in chances:
        await lasting.outlast(errors.ServerBusy())
    assert slept == [0.5, 2, 6, 4]


async def test_what_a_person_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer(twist_stored=busy_at(0))
    async with RecordingSocks([server]) as proxy:
        env = environment(tmp_path, ONION_RDV_SOCKS=str(proxy.socks))
        address = encode_onion_address(KEY)
        offered = await onion_rdv("offer", "-", "--server", address, "--one-channel", env=env, stdin=LINK)
        assert offered.code == 0, offered.stderr
        assert "the server is busy; asking it again in " in offered.stderr

        monkeypatch.setattr(patience, "pause_after", lambda _tries, _chance: 1000)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        server.twist_fetched = lambda _: problem_reply(Problem.BUSY)
        words = ["accept", offered.stdout.strip(), "--no-probe", "--socks", str(proxy.socks)]
        assert await asyncio.to_thread(main, words) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "rendezvous server cannot serve that now: it said once within 60 seconds that it is busy" in printed.err
