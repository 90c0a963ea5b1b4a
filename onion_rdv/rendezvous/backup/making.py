"""Writing a backup into a file."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from onion_rdv.errors import BackupUnusable
from onion_rdv.rendezvous.backup.contents import Contents
from onion_rdv.rendezvous.backup.records import encode
from onion_rdv.rendezvous.backup.sealing import SealedWriter
from onion_rdv.tor.onion_service import private_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from onion_rdv.rendezvous.backup.records import Record


async def write_backup(records: AsyncIterator[Record], path: Path, passphrase: str) -> Contents:
    """Seal records into a file, which is whole and on the disk before this returns, or not there at all.

    An older backup at ``path`` is replaced. Raises whatever ``records`` raises,
    :class:`~onion_rdv.errors.BackupUnusable` where the file cannot be written, and
    :class:`~onion_rdv.errors.MalformedPassphrase`.
    """
    contents = Contents()
    with _new_file(path) as file:
        sealed = SealedWriter(file, passphrase)
        async for record in records:
            contents.note(record)
            sealed.write(encode(record))
        if not contents.complete:
            raise BackupUnusable("the server gave only a part of it", hint="look into its log, and try again")
        sealed.finish()
    return contents


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside ``path``, for this user only, and put it there when all of it is on the disk."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(opened, "wb") as file:
                yield file
                file.flush()
                os.fsync(opened)
            unfinished.replace(path)
            private_file.sync_directory(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise BackupUnusable(
            f"{path} cannot be written ({error.strerror})", hint="name a file in a directory that has room"
        ) from None
