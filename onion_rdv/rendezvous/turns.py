"""Turns, for connections that have had an answer and ask again, so that they do not hold up those that ask first.

A client of ours asks once on each connection. Who asks again and again, or sends many requests at once, is served a
few in each round of the event loop, however many such connections there are; what else the loop has to do in that
round, first requests among it, is never behind more than these.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

IN_A_ROUND: Final = 16
"""Requests that are served in a round; each takes a fraction of a millisecond of it."""


class Turns:
    """Who waits, in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, in_a_round: int = IN_A_ROUND) -> None:
        self._loop = loop
        self._in_a_round = in_a_round
        self._left = in_a_round
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    async def take(self) -> None:
        """Wait for a turn; at once where there is one left in this round."""
        if not self._is_counting:
            self._is_counting = True
            self._left = self._in_a_round
            self._loop.call_soon(self._next_round)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = self._loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_round(self) -> None:
        self._left = self._in_a_round
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # who went away meanwhile takes none
                self._left -= 1
                turn.set_result(None)
        self._is_counting = self._left < self._in_a_round
        if self._is_counting:
            self._loop.call_soon(self._next_round)
