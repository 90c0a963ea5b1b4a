"""A connection to a messaging server that is made again, on a fresh circuit, whenever it breaks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from onion_rdv.errors import MessagingRefused, MessagingServerUnreachable, MessagingVersionUnknown, NoTor
from onion_rdv.smp.client import SmpConnection
from onion_rdv.tor.socks import is_tor, nothing_answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onion_rdv.smp.wire.address import SmpServer
    from onion_rdv.tor.socks import SocksPort

_T = TypeVar("_T")

_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds to wait before the next try; the last one stays."""

_STEADY: Final = 60.0
"""A connection that lasted so many seconds had nothing wrong with it."""

_PASSING_REFUSALS: Final = frozenset({"INTERNAL", "STORE"})


class Line:
    """One server, and the connection to it that is there at the moment."""

    def __init__(
        self, socks: SocksPort, server: SmpServer, timeout: float, tell: Callable[[str | None], None]
    ) -> None:
        """Prepare; ``tell`` hears why a connection has ended, and None when there is one again."""
        self._socks = socks
        self._server = server
        self._timeout = timeout
        self._tell = tell
        self._connection: SmpConnection | None = None
        self._connected_at = 0.0
        self._is_broken = False
        self._no_tor_since: float | None = None

    async def use(self, work: Callable[[SmpConnection], Awaitable[_T]]) -> _T:
        """Do something over a connection; raises whatever goes wrong."""
        try:
            return await work(await self._connect())
        except MessagingServerUnreachable as error:
            if _passes(error) and not await is_tor(self._socks):  # then that is why
                raise nothing_answers(self._socks) from None
            raise

    async def keep_using(self, work: Callable[[SmpConnection], Awaitable[_T]], *, tries: int | None = None) -> _T:
        """Do something, and whenever the connection breaks, connect again and do it from the beginning.

        Raises what another connection would not mend: :class:`~onion_rdv.errors.MessagingRefused`,
        :class:`~onion_rdv.errors.MessagingVersionUnknown`, :class:`~onion_rdv.errors.MessagingCheckFailed`; after so
        many ``tries`` (None: there is no end to them) whatever went wrong; and :class:`~onion_rdv.errors.NoTor` where
        there has been no tor for the seconds that a request may take.
        """
        failures = 0
        while True:
            try:
                return await work(await self._connect())
            except (MessagingServerUnreachable, NoTor) as error:
                if not _passes(error) or (tries is not None and failures + 1 >= tries):
                    raise
                self._wait_for_tor_no_longer(error)
                reason = error.message
            if self._connection is not None and time.monotonic() - self._connected_at > _STEADY:
                failures = 0
            await self.close()
            if not self._is_broken:
                self._is_broken = True
                self._tell(reason)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    def _wait_for_tor_no_longer(self, error: MessagingServerUnreachable | NoTor) -> None:
        """Raise where there has been no tor for too long: one that is restarted comes back soon, or not at all."""
        now = time.monotonic()
        if not isinstance(error, NoTor):
            self._no_tor_since = None
        elif self._no_tor_since is None:
            self._no_tor_since = now
        elif now - self._no_tor_since >= self._timeout:
            raise NoTor(
                f"{error.detail}, and nothing has for {self._timeout:.0f} seconds",
                hint="start tor again, then begin a new talk; what had not arrived is lost",
            ) from None

    async def close(self) -> None:
        """Close the connection; it can be made again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> SmpConnection:
        if self._connection is None or self._connection.failure is not None:
            await self.close()
            self._connection = await SmpConnection.connect(self._socks, self._server, timeout=self._timeout)
            self._connected_at = time.monotonic()
            self._no_tor_since = None
            if self._is_broken:
                self._is_broken = False
                self._tell(None)
        return self._connection


def _passes(error: MessagingServerUnreachable | NoTor) -> bool:
    """Tell whether it may be better on another connection."""
    if isinstance(error, MessagingRefused):
        return error.code in _PASSING_REFUSALS
    return not isinstance(error, MessagingVersionUnknown)
