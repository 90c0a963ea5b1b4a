"""Connections to PostgreSQL: a few, made when they are needed, and made anew when it was gone."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Protocol, Self

import asyncpg

from onion_rdv.errors import RdvError, StoreError
from onion_rdv.rendezvous.postgres_faults import explain
from onion_rdv.rendezvous.postgres_tls import CURE, missing_authority, unusable_file
from onion_rdv.storage.faults import Complaints, again

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterator

    from onion_rdv.rendezvous.postgres_address import DatabaseAddress

SCHEMA = "onion_rdv"
CONNECTIONS = 4
"""Connections that one server opens at most."""

_CONNECT_PATIENCE = 5.0
"""Seconds for a connection to come about."""

_PATIENCE = 10.0
"""Seconds for a statement, and for one of the connections to be free."""

_FIRST_REST, _LONGEST_REST = 0.1, 5.0
"""Seconds for which nothing is tried after PostgreSQL could not be reached once, and after many times."""

_SESSION = {
    "application_name": "onion-rdv",
    "search_path": SCHEMA,
    "synchronous_commit": "on",  # a commit has reached the disk (with standbys: theirs too) before it is over
    "default_transaction_isolation": "read committed",  # each statement sees what was committed before it
    # A server that stopped in the middle of a transaction does not hold up the others for longer than this.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "5s",
    "statement_timeout": "8s",
    # Plans are kept, and those that were made when the tables were still empty must do when they are large.
    "enable_seqscan": "off",
    "jit": "off",
}


class Connection(Protocol):
    """What is used of asyncpg's connections, which have no types."""

    async def execute(self, query: str, *arguments: object, timeout: float | None = None) -> str:
        """Do something, for at most so many seconds; without arguments it may be several statements."""

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Give all rows."""

    async def fetchrow(self, query: str, *arguments: object) -> Any:
        """Give the first row, or None."""

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """Give the first row's first column, or None."""

    def transaction(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Begin a transaction, which is committed at the end of the block and rolled back where an error ends it."""


class Connections:
    """Lends connections, and turns every fault into :class:`~onion_rdv.errors.StoreError`, logged once a minute."""

    def __init__(self, pool: Any, address: DatabaseAddress, logger: logging.Logger) -> None:
        self._pool = pool
        self._address = address
        self.complaints = Complaints(logger)
        self._rest = _FIRST_REST
        self._resting: tuple[float, StoreError] | None = None  # until when (of the loop's clock), and why

    @classmethod
    async def prepare(cls, address: DatabaseAddress, logger: logging.Logger) -> Self:
        """Get ready; nothing is connected before somebody asks."""
        pool = await asyncpg.create_pool(
            address.url,
            min_size=0,
            max_size=CONNECTIONS,
            reset=_leave_as_it_is,
            timeout=_CONNECT_PATIENCE,
            command_timeout=_PATIENCE,
            server_settings=_SESSION,
        )
        return cls(pool, address, logger)

    @property
    def name(self) -> str:
        """What the database is called for people."""
        return self._address.name

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; whatever fails while it is lent is raised as an error that can be shown.

        While PostgreSQL is gone that happens at once, except that it is tried again from time to time.
        """
        try:
            connection = await self._acquire()
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=_PATIENCE)
        except Exception as error:
            if isinstance(error, RdvError) and not isinstance(error, StoreError):
                raise  # it is of what is to be stored, not of the store
            fault = explain(error, self.name)
            self.complaints.tell(fault)
            raise fault from None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for what is to reach the disk as a whole before this is left, or not at all."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Wait until all connections are given back, and close them."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._pool.close()
        except (OSError, asyncpg.InterfaceError):
            self._pool.terminate()

    async def _acquire(self) -> Any:
        now = asyncio.get_running_loop().time()
        if self._resting is not None and now < self._resting[0]:
            raise again(self._resting[1])
        try:
            connection = await self._pool.acquire(timeout=_PATIENCE)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is explained
            fault = await self._why_not_connected(error)
            self._resting = now + self._rest * random.uniform(0.5, 1), fault
            self._rest = min(2 * self._rest, _LONGEST_REST)
            raise fault from None
        self._rest, self._resting = _FIRST_REST, None
        return connection

    async def _why_not_connected(self, error: Exception) -> StoreError:
        """Explain it; asyncpg reads the files for TLS each time it connects, and does not name what it cannot use."""
        if isinstance(error, (OSError, asyncpg.ClientConfigurationError)):
            for look in (unusable_file, missing_authority):
                unusable = await asyncio.to_thread(look, self._address)
                if unusable is not None:
                    return StoreError(unusable, hint=CURE)
        return explain(error, self.name)


async def _leave_as_it_is(_: Any) -> None:
    """Spare the round trip that would undo settings of the session: nobody changes any."""
