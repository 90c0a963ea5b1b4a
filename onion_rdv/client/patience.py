"""How long a client goes on asking a server that is busy, and how long it waits before it asks again."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from typing import TYPE_CHECKING

from onion_rdv.errors import ServerBusy, ServerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0

_CHANCE = secrets.SystemRandom().random


def pause_after(tries: int, chance: float) -> float:
    """Give the seconds to wait after so many tries; ``chance`` is a random number from 0 up to 1.

    Who was turned away together does not come back together: a pause is between half and one and a half of what it is
    on average, and that doubles from one second to 30.
    """
    return min(_FIRST_PAUSE * 2.0 ** min(tries - 1, 10), _LONGEST_PAUSE) * (0.5 + chance)


class Patience:
    """The seconds that a request may take in all, with every try and every pause.

    ``tell`` is told in a few words that there is a pause; ``chance`` gives random numbers from 0 up to 1.
    """

    def __init__(self, timeout: float, tell: Callable[[str], None], chance: Callable[[], float] = _CHANCE) -> None:
        self._timeout = timeout
        self._tell = tell
        self._chance = chance
        self._tries = 0
        self.deadline = time.monotonic() + timeout

    async def outlast(self, busy: ServerBusy) -> None:
        """Wait before the next try; raises :class:`~onion_rdv.errors.ServerBusy` where there is no time for one."""
        self._tries += 1
        pause = pause_after(self._tries, self._chance())
        if time.monotonic() + pause >= self.deadline:
            raise self._end() from busy
        self._tell(f"the server is busy; asking it again in {math.ceil(pause)} s")
        await asyncio.sleep(pause)

    def end(self, error: ServerUnreachable) -> ServerUnreachable:
        """Give the error to end with: a last try that came too late says less than that the server was busy."""
        return self._end() if self._tries and time.monotonic() >= self.deadline else error

    def _end(self) -> ServerBusy:
        how_often = "once" if self._tries == 1 else f"{self._tries} times"
        return ServerBusy(
            f"it said {how_often} within {self._timeout:.0f} seconds that it is busy",
            hint="try again later, or give it more time with --timeout",
        )
