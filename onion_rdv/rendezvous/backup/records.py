"""What stands in a backup, as bytes: records, one after another (docs/backup.md, "The content")."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from onion_rdv.errors import BackupUnusable
from onion_rdv.protocol import BUCKET_ID_SIZE, BUCKET_LINK_SIZE, BUCKET_SIZE, BucketId
from onion_rdv.rendezvous.kept import KeptBucket, Marks

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = struct.Struct(">BI")  # the kind of a record, and the bytes that follow
_MARKS = struct.Struct(">qqQQQ")
_LONGEST = 65_536


class _Kind(IntEnum):
    OWNER = 1
    KEY_FILE = 2
    CLIENTS_FILE = 3
    BUCKET = 4
    MARKS = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose backup this is: an onion address, 56 characters and ``.onion``. The first record."""

    address: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The onion service's key, as it stands in its file; missing where tor keeps it."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientsFile:
    """The clients that were let in while the server ran, as they stand in their file; missing where there is none."""

    content: bytes = field(repr=False)


Record = Owner | KeyFile | ClientsFile | KeptBucket | Marks
"""In this order; there may be any number of buckets, and one of each other at most. The marks are the last."""


def encode(record: Record) -> bytes:
    """Write a record."""
    match record:
        case Owner():
            kind, body = _Kind.OWNER, record.address.encode("ascii")
        case KeyFile():
            kind, body = _Kind.KEY_FILE, record.content
        case ClientsFile():
            kind, body = _Kind.CLIENTS_FILE, record.content
        case KeptBucket():
            kind, body = _Kind.BUCKET, record.bucket_id.encode() + record.link + record.content
        case Marks():
            kind, body = _Kind.MARKS, _MARKS.pack(*astuple(record))
    return _PREFIX.pack(kind, len(body)) + body


class Decoder:
    """Reads records out of bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._complete = False

    def feed(self, data: bytes) -> Iterator[Record]:
        """Give the records that end in ``data``; raises :class:`~onion_rdv.errors.BackupUnusable`."""
        self._waiting += data
        while len(self._waiting) >= _PREFIX.size:
            kind, size = _PREFIX.unpack_from(self._waiting)
            if size > _LONGEST or self._complete:
                raise _nonsense()
            end = _PREFIX.size + size
            if len(self._waiting) < end:
                return
            body = bytes(self._waiting[_PREFIX.size : end])
            del self._waiting[:end]
            try:
                record = _decode(kind, body)
            except (ValueError, struct.error):
                raise _nonsense() from None
            self._complete = isinstance(record, Marks)
            yield record

    def finish(self) -> None:
        """Say that nothing follows; raises :class:`~onion_rdv.errors.BackupUnusable` where something has to."""
        if self._waiting or not self._complete:
            raise BackupUnusable("it ends too early")


def _decode(kind: int, body: bytes) -> Record:
    match kind:
        case _Kind.OWNER:
            return Owner(body.decode("ascii"))
        case _Kind.KEY_FILE:
            return KeyFile(body)
        case _Kind.CLIENTS_FILE:
            return ClientsFile(body)
        case _Kind.BUCKET:
            return _decode_bucket(body)
        case _Kind.MARKS:
            return Marks(*_MARKS.unpack(body))
    raise BackupUnusable(
        f"it holds something that this onion-rdv does not know (kind {kind})",
        hint="restore it with the newer onion-rdv that wrote it",
    )


def _decode_bucket(body: bytes) -> KeptBucket:
    if len(body) != BUCKET_ID_SIZE + BUCKET_LINK_SIZE + BUCKET_SIZE:
        raise ValueError
    content = BUCKET_ID_SIZE + BUCKET_LINK_SIZE
    return KeptBucket(BucketId.decode(body[:BUCKET_ID_SIZE]), body[BUCKET_ID_SIZE:content], body[content:])


def _nonsense() -> BackupUnusable:
    return BackupUnusable("what it holds makes no sense")
