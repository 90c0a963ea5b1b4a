"""Keep an onion service published for as long as it is wanted, whatever tor goes through meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from onion_rdv.errors import NoTor, SettingsError, StoreError
from onion_rdv.tor.client_authorization import narrows
from onion_rdv.tor.onion_service.publication import publish
from onion_rdv.tor.progress import silent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from onion_rdv.tor.control import Control
    from onion_rdv.tor.onion_service.way import Provided, Way
    from onion_rdv.tor.progress import Progress

PUBLISH_SECONDS = 180.0
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_REVISION_SECONDS = 1.5


def _nothing(state: str) -> None:
    """Report to nobody."""


class OnionService:
    """An onion service: :meth:`publish` it, :meth:`keep` it up, :meth:`stop` it.

    ``open_control`` is called for a new control connection whenever one is needed; it raises
    :class:`~onion_rdv.errors.NoTor` when there is none to be had now, and the connection is closed here.
    ``on_state`` is told ``"publishing"``, ``"published"`` and ``"lost: "`` with the reason. One attempt to publish
    may take ``timeout`` seconds, tor's own start included.
    """

    def __init__(
        self,
        way: Way,
        open_control: Callable[[], Awaitable[Control]],
        *,
        on_state: Callable[[str], None] = _nothing,
        progress: Progress = silent,
        timeout: float = PUBLISH_SECONDS,
    ) -> None:
        self._way = way
        self._open_control = open_control
        self._on_state = on_state
        self._progress = progress
        self._timeout = timeout
        self._control: Control | None = None
        self._published: Provided | None = None
        self._published_at = float("-inf")
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._state = "publishing"
        self._tor_version: str | None = None

    @property
    def state(self) -> str:
        """What ``on_state`` was told last."""
        return self._state

    @property
    def tor_version(self) -> str | None:
        """The version of the tor that we have a control connection to; None while there is none."""
        return self._tor_version

    @property
    def is_published(self) -> bool:
        """Whether the service was published once."""
        return self._published is not None

    @property
    def address(self) -> str:
        """The onion address, 56 characters and ``.onion``; known once the service was published."""
        return self._once_published().address

    @property
    def proof_of_work(self) -> bool:
        """Whether tor asks clients for work under load; known once the service was published."""
        return self._once_published().proof_of_work

    @property
    def warnings(self) -> tuple[str, ...]:
        """Texts for the operator; known once the service was published."""
        return self._once_published().warnings

    def _once_published(self) -> Provided:
        if self._published is None:
            raise RuntimeError("the onion service has not been published yet")
        return self._published

    async def publish(self) -> None:
        """Publish the service and wait until its descriptor is with the directories; one attempt.

        Raises what ``open_control`` raises, :class:`~onion_rdv.errors.SettingsError` (among them
        :class:`~onion_rdv.errors.KeyFileUnusable`) for what no other attempt would mend,
        :class:`~onion_rdv.errors.ServiceNotPublished` when tor refuses or takes too long,
        :class:`~onion_rdv.errors.StoreError` for a disk that is full or fails, and
        :class:`~onion_rdv.errors.ControlLost`.
        """
        self._enter("publishing")
        await self._drop_control()
        self._control = control = await self._open_control()
        try:
            await self._publish_over(control)
        except BaseException:
            await self._drop_control()
            raise

    async def _publish_over(self, control: Control) -> None:
        self._tor_version = str(await control.version())
        self._published = await publish(control, self._way.provide, progress=self._progress, timeout=self._timeout)
        self._published_at = asyncio.get_running_loop().time()
        self._enter("published")

    async def replace_clients(self, keys: Collection[str]) -> bool:
        """Let in these clients (x25519 public keys in base32), and nobody else, from now on; no key is everybody.

        Whoever is not among them is shut out at once, with whatever they have open; where somebody is shut out,
        others lose what they have open, too. Gives True when the service is published for these clients, and False
        when tor could not be told now: :meth:`keep` will tell it as soon as it can.

        Raises :class:`~onion_rdv.errors.SettingsError`, and then lets in whom it let in before.
        """
        before = self._way.clients
        if not self._way.replace_clients(keys):
            return self._control is not None
        if not narrows(before, self._way.clients):
            await self._until_another_second()
        control = self._control
        if control is None:
            return False
        self._enter("publishing")
        try:
            await self._publish_over(control)
        except SettingsError:
            self._way.replace_clients(before)
            with suppress(NoTor, StoreError, SettingsError):  # then it is for keep() to publish it again
                await self._publish_over(control)
            raise
        except (NoTor, StoreError):
            await self._drop_control()
            return False
        return True

    async def _until_another_second(self) -> None:
        """Wait until directories take another descriptor with the same introduction points.

        They refuse one that is not newer by its revision counter, which counts seconds (rend-spec, "Deriving
        revision counters"), and tor does not offer it again for an hour. New introduction points take longer.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._published_at + _REVISION_SECONDS - loop.time())

    async def keep(self) -> None:
        """Keep the service published until :meth:`stop`; publish it first where that was not done.

        After a loss it is published again, with the same address, at once and then after pauses that grow to 30
        seconds; so it is after a fault of the disk. Raises only :class:`~onion_rdv.errors.SettingsError`.
        """
        if self._stopping.is_set():
            return
        self._keeper = asyncio.create_task(self._keep())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({self._keeper, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            self._keeper.cancel()
            await asyncio.wait({stopping, self._keeper})
        if not self._keeper.cancelled():
            self._keeper.result()

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if self._control is None:
                    await self.publish()
                pause = _FIRST_PAUSE
                reason = await self._until_lost()
            except (NoTor, StoreError) as error:
                reason = error.message
            self._enter(f"lost: {reason}")
            await self._drop_control()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _until_lost(self) -> str:
        """Wait for the end of the connection, or of the service in tor's configuration; give the reason."""
        control = self._control
        if control is None:
            return "the control connection was closed"
        news = asyncio.Event()
        await control.add_event_listener(lambda _event: news.set(), "CONF_CHANGED")
        end = asyncio.create_task(control.closed.wait())
        end.add_done_callback(lambda _end: news.set())
        try:
            while not control.closed.is_set():
                news.clear()
                if not await self._way.is_provided(control):
                    return "tor's configuration has changed, and the service is gone from it"
                await news.wait()
        finally:
            end.cancel()
        return "the control connection has ended"

    async def stop(self) -> None:
        """End :meth:`keep`, take the service back where its way does so, and close the control connection."""
        self._stopping.set()
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
        if self._control is not None:
            with suppress(NoTor):
                await self._way.withdraw(self._control)
        await self._drop_control()

    def _enter(self, state: str) -> None:
        self._state = state
        self._on_state(state)

    async def _drop_control(self) -> None:
        control, self._control = self._control, None
        self._tor_version = None
        if control is not None:
            await control.close()
