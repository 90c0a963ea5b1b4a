"""Turns, for connections that have had an answer and ask again, so that they do not hold up those that ask first.

A client of ours asks once on each connection. Who asks again and again, or sends many requests at once, is served a
few in each round of the event loop, however many such connections there are; what else the loop has to do in that
round, first requests among it, is never behind more than these.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

IN_A_ROUND: Final = 16
"""Requests that are served in a round; each takes a fraction of a millisecond of it."""


class Turns:
    """Who waits, in the order in which they came; each is called when it has a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, in_a_round: int = IN_A_ROUND) -> None:
        self._loop = loop
        self._in_a_round = in_a_round
        self._left = in_a_round
        self._waiting: OrderedDict[Callable[[], None], None] = OrderedDict()
        self._is_counting = False

    def take(self, turn: Callable[[], None]) -> None:
        """Have a turn; at once where there is one left in this round."""
        if not self._is_counting:
            self._is_counting = True
            self._left = self._in_a_round
            self._loop.call_soon(self._next_round)
        if self._left and not self._waiting:
            self._left -= 1
            turn()
        else:
            self._waiting[turn] = None

    def leave(self, turn: Callable[[], None]) -> None:
        """Do not wait for it any more, or not at all."""
        self._waiting.pop(turn, None)

    def _next_round(self) -> None:
        self._left = self._in_a_round
        while self._left and self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            self._left -= 1
            turn()
        self._is_counting = self._left < self._in_a_round
        if self._is_counting:
            self._loop.call_soon(self._next_round)
