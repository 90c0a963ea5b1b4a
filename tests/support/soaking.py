"""People who offer and accept links while everything under them is restarted, killed and cut off, again and again."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from command_line import onion_rdv
from server_process import serving

from onion_rdv.tor.testnet import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes import OlderTor
    from server_process import ServerProcess

    from onion_rdv.tor.testnet import Keeper

TROUBLES = ("server killed", "server restarted", "control cut", "tor restarted", "clients' tor restarted")
PEOPLE = 3
_PATIENCE = "20"
"""Seconds that a person waits for a server; meanwhile it may be gone."""
_NO_TOR, _UNREACHABLE = 3, 4
_PAUSE = 4.0
"""Seconds at most between two troubles."""
_TELL_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Given:
    """A link whose offer ended well."""

    link: str
    invite: str
    passphrase: str


def troubles(seed: str) -> Iterator[tuple[str, float]]:
    """Give what befalls the server, one trouble after the other, and how long it has peace afterwards at most."""
    chance = random.Random(f"{seed}: troubles")
    while True:
        yield chance.choice(TROUBLES), _PAUSE * chance.random()


@dataclass
class Soak:
    """One server, reached through ``control``, and its people; :meth:`run` raises where anything was lost.

    The same seed brings the same troubles in the same order, and people who choose alike. What they meet with depends
    on moments, too.
    """

    env: dict[str, str]
    keeper: Keeper
    control: OlderTor
    tell: Callable[[str], None]
    seed: str
    acknowledged: int = 0
    fetched: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    _to_fetch: list[Given] = field(default_factory=list)
    _server: ServerProcess | None = None
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _name: str = ""
    _ending: bool = False

    async def run(self, seconds: float) -> None:
        """Go on for so long, and then fetch whatever has not been fetched yet."""
        self.tell(f"SOAK_SEED={self.seed} brings the same troubles again")
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            serving_it = group.create_task(self._serve())
            await self._up.wait()
            chances = [random.Random(f"{self.seed}: person {number}") for number in range(PEOPLE)]
            people = [group.create_task(self._be_somebody(chance)) for chance in chances]
            telling = group.create_task(self._report(end))
            for what, peace in troubles(self.seed):
                if time.monotonic() >= end:
                    break
                await self._make_trouble(what)
                await asyncio.sleep(min(peace, max(0.0, end - time.monotonic())))
            self._ending = True
            await asyncio.wait(people)
            telling.cancel()
            while not self.acknowledged:  # where hardly any time was given
                await self._offer()
            self.tell(f"{len(self._to_fetch)} links are left to be fetched")
            await asyncio.gather(*(self._fetch_the_rest() for _ in range(PEOPLE)))
            self._end_server(signal.SIGTERM)
            await serving_it
        self.tell(self.state())

    def state(self) -> str:
        """Say in a line what has happened."""
        troubles = ", ".join(f"{what} {times}" for what, times in sorted(self.happened.items()))
        return f"{self.acknowledged} links acknowledged, {self.fetched} of them fetched; {troubles}"

    # The server, and what befalls it

    async def _serve(self) -> None:
        """Start the server, and start it again whenever it has ended."""
        while not self._ending:
            async with serving(env=self.env) as self._server:
                assert self._name in {"", self._server.name}
                self._name = self._server.name
                self._up.set()
                await self._server.process.wait()
                self._up.clear()

    def _end_server(self, how: signal.Signals) -> None:
        assert self._server is not None
        self._up.clear()
        self._server.process.send_signal(how)

    async def _make_trouble(self, what: str) -> None:
        self.happened[what] += 1
        match what:
            case "server killed":
                self._end_server(signal.SIGKILL)
            case "server restarted":
                self._end_server(signal.SIGTERM)
            case "control cut":
                self.control.cut()
            case "tor restarted":
                await asyncio.to_thread(self.keeper.restart_tor)
            case _:
                await asyncio.to_thread(self.keeper.restart_tor, plan.CLIENT)
        await self._up.wait()

    async def _report(self, end: float) -> None:
        while True:
            await asyncio.sleep(_TELL_EVERY)
            self.tell(f"{max(0, end - time.monotonic()):.0f} s left: {self.state()}")

    # People

    async def _be_somebody(self, chance: random.Random) -> None:
        while not self._ending:
            await self._offer()
            while self._to_fetch and chance.random() < 0.6:
                given = self._to_fetch.pop(chance.randrange(len(self._to_fetch)))
                if not await self._accept(given):
                    self._to_fetch.append(given)
                    break

    async def _offer(self) -> None:
        link = f"https://smp.invalid/i#{secrets.token_urlsafe(24)}"
        words = ["offer", "-", "--server", self._name, "--json", "--timeout", _PATIENCE]
        result = await onion_rdv(*words, env=self.env, stdin=link)
        if result.code == 0:
            self.acknowledged += 1
            self._to_fetch.append(Given(link, result.json["invite"], result.json["passphrase"]))
        else:
            assert result.code in {_NO_TOR, _UNREACHABLE}, result
            assert result.stdout == ""
            self.happened["offer failed"] += 1

    async def _accept(self, given: Given) -> bool:
        """Fetch a link; tells whether it came. That it cannot be reached now is no loss, anything else is."""
        words = ["accept", given.invite, "--json", "--no-probe", "--passphrase-file", "-", "--timeout", _PATIENCE]
        result = await onion_rdv(*words, env=self.env, stdin=given.passphrase)
        if result.code in {_NO_TOR, _UNREACHABLE}:
            self.happened["accept failed"] += 1
            return False
        assert result.code == 0, result
        assert result.json["link"] == given.link
        self.fetched += 1
        return True

    async def _fetch_the_rest(self) -> None:
        while self._to_fetch:
            given = self._to_fetch.pop()
            async with asyncio.timeout(180):
                while not await self._accept(given):
                    await asyncio.sleep(1)
