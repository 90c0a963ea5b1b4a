"""Waking up everybody who waits for something to change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pulse:
    """Beats whenever something has changed; who wakes up looks what it was."""

    def __init__(self) -> None:
        """Make one that has not beaten yet."""
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake up everybody who waits now."""
        now, self._next = self._next, asyncio.Event()
        now.set()

    async def wait(self, timeout: float | None) -> bool:
        """Wait for the next beat; tells whether it came within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._next.wait()
        except TimeoutError:
            return False
        return True

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a beat after which this is so."""
        while not is_so():
            await self.wait(None)
