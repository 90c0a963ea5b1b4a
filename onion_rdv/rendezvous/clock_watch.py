"""Tells an operator that the clock of the buckets was set: they carry times, and clients refuse wrong ones."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from onion_rdv.protocol import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_LOGGER = logging.getLogger("onion_rdv.rendezvous")

_EVERY: Final = 2.0
"""Seconds between two looks."""

TOLERATED: Final = Limits().max_clock_skew / 2
"""Seconds by which a clock may be set without a word: half of what clients forgive."""

_CURE = "look at timedatectl, and at what sets this machine's clock"


class ClockWatch:
    """Compares the clock that can be set with the one that cannot; both give seconds."""

    def __init__(
        self, clock: Callable[[], float], steady: Callable[[], float], *, name: str = "the clock", cure: str = _CURE
    ) -> None:
        """Begin with what the clocks show; ``name`` and ``cure`` are what an operator is told of the first one."""
        self._clock = clock
        self._steady = steady
        self._name = name
        self._cure = cure
        self._ahead = self._difference()

    def _difference(self) -> float:
        return self._clock() - self._steady()

    def look(self) -> str | None:
        """Say that the clock was set since the last look, if it was by much, and what that means."""
        difference = self._difference()
        step, self._ahead = difference - self._ahead, difference
        if step < -TOLERATED:
            return (
                f"{self._name} was set back by {-step:.0f} seconds; buckets that were opened before do not fill up,"
                f" and if it is wrong now clients refuse the new ones: {self._cure}"
            )
        if step > TOLERATED:
            return (
                f"{self._name} was set forward by {step:.0f} seconds; buckets whose lifetime is over by it are"
                f" erased, and if it is wrong now clients refuse the new ones: {self._cure}"
            )
        return None


def steady() -> float:
    """Give seconds of the clock that nobody sets, and that goes on while machines sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def look_at_files(directory: Path, now: float) -> str | None:
    """Say that the clock was set back while the server was away, if a file here was written after ``now``. Blocks."""
    newest = now
    with suppress(OSError):
        newest = max((file.stat().st_mtime for file in directory.iterdir()), default=now)
    if newest <= now + TOLERATED:
        return None
    return (
        f"the clock is at least {newest - now:.0f} seconds behind the one by which files in {directory} were written;"
        f" if it is wrong now clients refuse new buckets: {_CURE}"
    )


@asynccontextmanager
async def watching_the_clock(directory: Path) -> AsyncIterator[None]:
    """Log whenever the clock is set while the block runs, and whether it was before; ``directory`` has our files."""
    warn(await asyncio.to_thread(look_at_files, directory, time.time()))
    watch = ClockWatch(time.time, steady)
    watching = asyncio.create_task(_keep_looking(watch))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _keep_looking(watch: ClockWatch) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        warn(watch.look())


def warn(text: str | None) -> None:
    """Log what there is to say, if there is anything."""
    if text is not None:
        _LOGGER.warning("%s", text)
