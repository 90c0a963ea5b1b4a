"""Wait until an onion service's descriptor is really with the directories.

``HS_DESC`` events (control-spec, section "HiddenService descriptors") tell of every upload that tor begins
(``UPLOAD``) and how it ends (``UPLOADED``, ``FAILED``): up to eight directories for each of two time periods.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from onion_rdv.errors import ControlLost, NoTor, ServiceNotPublished
from onion_rdv.tor.control.connection import read_bootstrap
from onion_rdv.tor.onion_service import circuits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from onion_rdv.tor.control import Control, Event
    from onion_rdv.tor.onion_service.way import Provided
    from onion_rdv.tor.progress import Progress
    from onion_rdv.tor.torlog import Bootstrap

STRAGGLER_SECONDS = 10.0
"""Once one directory has the descriptor, the others get so long: a circuit to one of them may have died."""

RECHECK_SECONDS = 5.0
"""How often a service that this tor had before is looked for in the directories."""

_BOOTSTRAP_SHARE = 80  # percent of the progress that are tor's own start
_UPLOAD = "UNKNOWN"  # stands in events about uploads where those about fetches have the kind of authorization


class Uploads:
    """The uploads of one service's descriptors, counted from the texts of ``HS_DESC`` events."""

    def __init__(self, address: str) -> None:
        self._service = address.removesuffix(".onion")
        self._pending: Counter[str] = Counter()
        self.announced = 0
        self.uploaded = 0
        self.fetched = False
        self.last_failure = ""

    def see(self, text: str) -> None:
        """Take in one event; those of other services do not count."""
        fields = text.split()
        if len(fields) < 4 or fields[1] != self._service:
            return
        action, _, kind, directory = fields[:4]
        if action == "UPLOAD":
            self._pending[directory] += 1
            self.announced += 1
        elif action == "UPLOADED":
            self._pending[directory] -= 1
            self.uploaded += 1
        elif action == "FAILED" and kind == _UPLOAD:
            self._pending[directory] -= 1
            self.last_failure = next((field[7:] for field in fields if field.startswith("REASON=")), "unknown")
        elif action == "RECEIVED":
            self.fetched = True

    @property
    def unanswered(self) -> int:
        """How many uploads are under way."""
        return (+self._pending).total()

    @property
    def up(self) -> bool:
        """Whether a directory has the descriptor."""
        return self.uploaded > 0 or self.fetched


class Watch:
    """What a tor has said since the watch began; it must begin before the service is provided."""

    def __init__(self, control: Control, bootstrap: Bootstrap) -> None:
        self._control = control
        self._said: list[str] = []
        self._news = asyncio.Event()
        self.bootstrap = bootstrap
        self.uploads = Uploads("")

    @classmethod
    @asynccontextmanager
    async def of(cls, control: Control) -> AsyncIterator[Watch]:
        """Watch a tor while the block runs."""
        watch = cls(control, await control.bootstrap())
        await control.add_event_listener(watch._hear, "HS_DESC", "STATUS_CLIENT")
        try:
            yield watch
        finally:
            await control.remove_event_listener(watch._hear)

    def _hear(self, event: Event) -> None:
        if event.kind == "HS_DESC":
            self._said.append(event.text)
        else:
            self.bootstrap = read_bootstrap(event.text) or self.bootstrap
        self._news.set()

    async def until_published(self, provided: Provided, progress: Progress) -> None:
        """Wait until the service's descriptor is up.

        Up means: at least one directory has it, and every other that tor began with has answered, or had ten
        seconds for it. A service that this tor had before counts as up, too, when it has introduction points
        and a directory gives out its descriptor.

        Raises :class:`~onion_rdv.errors.ControlLost` when the connection ends.
        """
        self.uploads = uploads = Uploads(provided.address)
        helpers = [asyncio.create_task(self._tell_of_the_end())]
        if not provided.fresh:
            helpers.append(asyncio.create_task(self._look_for(provided.address)))
        try:
            await self._until(lambda: uploads.up, progress)
            with suppress(TimeoutError):
                async with asyncio.timeout(STRAGGLER_SECONDS):
                    await self._until(lambda: uploads.unanswered == 0, progress)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
        progress(100, "published")

    async def _until(self, condition: Callable[[], bool], progress: Progress) -> None:
        while True:
            self._news.clear()
            for text in self._said:
                self.uploads.see(text)
            self._said.clear()
            progress(*self._how_far())
            if condition():
                return
            if self._control.closed.is_set():
                raise ControlLost(str(self._control.address))
            await self._news.wait()

    async def _tell_of_the_end(self) -> None:
        await self._control.closed.wait()
        self._news.set()

    async def _look_for(self, address: str) -> None:
        """Have the descriptor fetched once there are introduction points; older ones lead nowhere."""
        with suppress(NoTor):
            while not self.uploads.announced:
                if await circuits.introduces(self._control, address):
                    await self._control.ask(f"HSFETCH {address.removesuffix('.onion')}")
                await asyncio.sleep(RECHECK_SECONDS)

    def _how_far(self) -> tuple[int, str]:
        if self.bootstrap.percent < 100:
            return self.bootstrap.percent * _BOOTSTRAP_SHARE // 100, f"tor: {self.bootstrap.summary}"
        uploads = self.uploads
        if not uploads.announced:
            return _BOOTSTRAP_SHARE, "asking relays to introduce clients"
        share = (100 - _BOOTSTRAP_SHARE) * uploads.uploaded // uploads.announced
        return _BOOTSTRAP_SHARE + share, f"publishing {uploads.uploaded} of {uploads.announced}"

    def why_not(self) -> str:
        """Say how far the publication has come, for an error."""
        if self.bootstrap.percent < 100:
            return f"tor has come to {self.bootstrap.percent} % of its start ({self.bootstrap.summary})"
        if not self.uploads.announced:
            return "tor has no introduction points for it yet"
        failure = f" ({self.uploads.last_failure})" if self.uploads.last_failure else ""
        return f"none of {self.uploads.announced} directories has taken the descriptor{failure}"


async def publish(
    control: Control, provide: Callable[[Control], Awaitable[Provided]], *, progress: Progress, timeout: float
) -> Provided:
    """Have a service provided and wait until it is published, at most ``timeout`` seconds.

    ``provide`` is that of a :class:`Way`. Raises what it raises,
    :class:`~onion_rdv.errors.ServiceNotPublished` after the time, and :class:`~onion_rdv.errors.ControlLost` when the
    connection ends.
    """
    async with Watch.of(control) as watch:
        try:
            async with asyncio.timeout(timeout):
                provided = await provide(control)
                await watch.until_published(provided, progress)
        except TimeoutError:
            raise ServiceNotPublished(f"after {timeout:g} seconds {watch.why_not()}") from None
    return provided
