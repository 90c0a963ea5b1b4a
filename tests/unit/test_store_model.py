"""A store of buckets against a simple model of it, in sequences that hypothesis thinks up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from store_machine import StoreMachine

from onion_rdv.errors import StoreError
from onion_rdv.rendezvous.postgres_connections import CONNECTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer
    from stores import OpenStore

    from onion_rdv.rendezvous.store import BucketStore

pytestmark = pytest.mark.usefixtures("_cheap_links")


def test_the_store_does_as_its_model(open_in: OpenStore, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    class Machine(StoreMachine):
        SERVERS = 2 if "postgres" in request.node.callspec.id else 1
        directory = tmp_path
        open_it = staticmethod(open_in)

    run_state_machine_as_test(Machine, settings=settings(max_examples=20, stateful_step_count=20, deadline=None))


class InterruptedMachine(StoreMachine):
    """A store whose database ends what it was in the middle of."""

    SERVERS = 2
    postgres: ClassVar[PostgresServer]

    @rule(count=st.integers(1, 150), server=st.integers(0, 1), milliseconds=st.integers(0, 15))
    def end_sessions_while_storing(self, count: int, server: int, milliseconds: int) -> None:
        async def end_them() -> None:
            await asyncio.sleep(milliseconds / 1000)
            await self.postgres.execute(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='onion-rdv'",
            )

        async def together() -> None:
            await asyncio.gather(self.try_to_put(count, server), end_them())
            await self.look_again()

        self.run(together())

    async def look_again(self) -> None:
        """Look until all servers have noticed, and answer again."""
        async with asyncio.timeout(30):
            for store in self.stores:
                while not await self.answers(store):
                    await asyncio.sleep(0.02)
            await self.look()

    async def answers(self, store: BucketStore) -> bool:
        """Tell whether every connection of a server's works."""
        try:
            await asyncio.gather(*(store.fetch(bytes(16)) for _ in range(2 * CONNECTIONS)))
        except StoreError:
            return False
        return True


@pytest.mark.parametrize("open_in", ["postgres"], indirect=True)
def test_no_end_of_a_session_with_postgresql_loses_anything(
    open_in: OpenStore, postgres: PostgresServer, tmp_path: Path
) -> None:
    class Machine(InterruptedMachine):
        directory = tmp_path
        open_it = staticmethod(open_in)

    Machine.postgres = postgres
    run_state_machine_as_test(Machine, settings=settings(max_examples=10, stateful_step_count=12, deadline=None))
