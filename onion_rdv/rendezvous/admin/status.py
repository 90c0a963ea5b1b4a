"""What a running server says about itself: sums over everybody, rounded, and nothing that shows a single request."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

    from onion_rdv.rendezvous.admin.face import Routes
    from onion_rdv.rendezvous.store import BucketStore
    from onion_rdv.tor.onion_service import OnionService

STATUS_PATH = "/status"

_MIB = 2**20
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Status:
    """A server's state, and sums since its store was begun."""

    server: str
    """The server as clients name it: its onion address, and its port where that is not 80."""

    published: bool
    """Whether its descriptor is with Tor's directories, as far as its tor has said."""

    state: str
    """What the onion service is doing: ``publishing``, ``published``, or ``lost: `` and why."""

    tor_version: str | None
    """The version of its tor; None while it has none."""

    open_buckets: int
    """Buckets that take entries now."""

    buckets: int
    """Buckets that are kept now."""

    opened_buckets: int
    """Buckets that were ever opened."""

    stored_entries: int
    """Entries that were ever stored, in steps of 64; told when a bucket closes, and never less than before."""

    fetched_buckets: int
    """Buckets that were ever given out, in steps of 64; told at the same time."""

    store_bytes: int
    """What the store takes on disk, rounded up to whole MiB: its log grows with every entry."""

    oldest_expires_at: int | None
    """Unix time by which the oldest bucket will be erased, rounded up to whole hours; None where there is none.

    The very second would show when somebody stored the first entry in it.
    """


class Observer:
    """Looks at a running server."""

    def __init__(self, server: str, onion: OnionService, store: BucketStore, lifetime: int) -> None:
        """Prepare; ``server`` is how clients name it, ``lifetime`` the seconds that a bucket is kept."""
        self._server = server
        self._onion = onion
        self._store = store
        self._lifetime = lifetime

    async def look(self) -> Status:
        """Give the state of this moment; raises :class:`~onion_rdv.errors.StoreError`."""
        totals = await self._store.totals()
        oldest = totals.oldest
        state = self._onion.state
        return Status(
            server=self._server,
            published=state == "published",
            state=state,
            tor_version=self._onion.tor_version,
            open_buckets=totals.open,
            buckets=totals.buckets,
            opened_buckets=totals.opened,
            stored_entries=totals.stored_on_disk,
            fetched_buckets=totals.fetched_on_disk,
            store_bytes=_rounded_up(totals.size, _MIB),
            oldest_expires_at=None if oldest is None else _rounded_up(oldest + self._lifetime, _HOUR),
        )

    def routes(self) -> Routes:
        """Let the state be asked for."""
        from aiohttp import web  # whoever asks needs the rest of this module, too, and not that

        async def answer(_: web.Request) -> web.Response:
            return web.json_response(asdict(await self.look()))

        return {("GET", STATUS_PATH): answer}


def read_status(said: dict[str, Any]) -> Status:
    """Read what :data:`STATUS_PATH` gives."""
    return Status(**said)


def _rounded_up(count: int, step: int) -> int:
    return -(-count // step) * step
