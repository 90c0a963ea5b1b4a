"""Tells an operator that the machine's clock was set: buckets carry times, and clients refuse wrong ones."""

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

_TOLERATED: Final = Limits().max_clock_skew / 2
"""Seconds by which a clock may be set without a word: half of what clients forgive."""

_CURE = "look at timedatectl, and at what sets this machine's clock"


class ClockWatch:
    """Compares the clock that can be set with the one that cannot; both give seconds."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._ahead = self._difference()

    def _difference(self) -> float:
        return self._clock() - self._steady()

    def look(self) -> str | None:
        """Say that the clock was set since the last look, if it was by much, and what that means."""
        difference = self._difference()
        step, self._ahead = difference - self._ahead, difference
        if step < -_TOLERATED:
            return (
                f"the clock was set back by {-step:.0f} seconds; buckets that were opened before do not fill up, and"
                f" if it is wrong now clients refuse the new ones: {_CURE}"
            )
        if step > _TOLERATED:
            return (
                f"the clock was set forward by {step:.0f} seconds; buckets whose lifetime is over by it are erased,"
                f" and if it is wrong now clients refuse the new ones: {_CURE}"
            )
        return None


def look_at_files(directory: Path, now: float) -> str | None:
    """Say that the clock was set back while the server was away, if a file here was written after ``now``. Blocks."""
    newest = now
    with suppress(OSError):
        newest = max((file.stat().st_mtime for file in directory.iterdir()), default=now)
    if newest <= now + _TOLERATED:
        return None
    return (
        f"the clock is at least {newest - now:.0f} seconds behind the one by which files in {directory} were written;"
        f" if it is wrong now clients refuse new buckets: {_CURE}"
    )


@asynccontextmanager
async def watching_the_clock(directory: Path) -> AsyncIterator[None]:
    """Log whenever the clock is set while the block runs, and whether it was before; ``directory`` has our files."""
    _warn(await asyncio.to_thread(look_at_files, directory, time.time()))
    watch = ClockWatch(time.time, lambda: time.clock_gettime(time.CLOCK_BOOTTIME))  # it goes on while machines sleep
    watching = asyncio.create_task(_keep_looking(watch))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _keep_looking(watch: ClockWatch) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        _warn(watch.look())


def _warn(text: str | None) -> None:
    if text is not None:
        _LOGGER.warning("%s", text)
