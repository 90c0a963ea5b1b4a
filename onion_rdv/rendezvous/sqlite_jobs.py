"""What the event loop and the thread that works on a store's file say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from onion_rdv.errors import StoreError
    from onion_rdv.protocol import BucketId
    from onion_rdv.rendezvous.sqlite_file import StoreFile
    from onion_rdv.rendezvous.store import StoredBucket


@dataclass(frozen=True, slots=True)
class Store:
    """Entries to put away, each with who waits for it."""

    entries: list[tuple[bytes, Future[StoredBucket]]]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A link to look up."""

    link: bytes
    answer: Future[bytes | None]


@dataclass(frozen=True, slots=True)
class Link:
    """A bucket's link, computed."""

    key: int
    bucket_id: BucketId
    link: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """Anything else to do with the file; ``writes`` says whether it changes what the thread knows of it."""

    do: Callable[[StoreFile], Any]
    answer: Future[Any]
    writes: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of the work."""


Job = Store | Fetch | Link | Work | Stop


@dataclass(frozen=True, slots=True)
class Written:
    """A state of a bucket that has reached the disk; ``key`` is the store's own name of it."""

    key: int
    bucket_id: BucketId
    content: bytes
    is_new: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one round of work brought about, in this order."""

    written: list[Written] = field(default_factory=list)
    stored: list[tuple[Future[StoredBucket], StoredBucket | StoreError]] = field(default_factory=list)
    found: list[tuple[Fetch, bytes | StoreError | None]] = field(default_factory=list)
    done: list[tuple[Future[Any], Any]] = field(default_factory=list)
    """What came of other work, or :class:`~onion_rdv.errors.StoreError`."""

    erased: list[bytes] = field(default_factory=list)
    """Links of buckets that have expired."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was in the file when it was opened: at the start, and again after each fault."""

    unlinked: list[tuple[int, BucketId]]
    """Buckets whose links have still to be computed, by their keys."""

    filling: Written | None
    """The bucket that is open."""

    filling_link: bytes | None
