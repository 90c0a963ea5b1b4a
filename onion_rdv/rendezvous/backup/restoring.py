"""Putting back what a backup holds: all of it, or nothing."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onion_rdv.errors import BackupUnusable, MalformedOnionAddress, SettingsError
from onion_rdv.protocol import decode_onion_address
from onion_rdv.rendezvous.backup.contents import Contents
from onion_rdv.rendezvous.backup.records import ClientsFile, Decoder, KeyFile, Owner
from onion_rdv.rendezvous.opening import open_store
from onion_rdv.rendezvous.rules import KEEP_ALL
from onion_rdv.tor.onion_service import private_file
from onion_rdv.tor.onion_service.client_list import CLIENTS_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import ServiceKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from onion_rdv.rendezvous.backup.records import Record
    from onion_rdv.rendezvous.kept import Kept


async def restore(pieces: Iterable[bytes], directory: Path, database: str | None = None) -> Contents:
    """Fill a server's state directory, which has to be empty or not there yet. Blocks the event loop.

    ``pieces`` are a backup's content; the buckets in it go into the ``database`` (the URL of one in PostgreSQL, with
    no buckets in it) where one is named. All is made elsewhere, and is there under its name when it is whole; for
    root, it belongs to the owner of the directory above. Raises what ``pieces`` raises,
    :class:`~onion_rdv.errors.BackupUnusable`, :class:`~onion_rdv.errors.StoreError`, and
    :class:`~onion_rdv.errors.SettingsError` where something is in the directory, or it cannot be made.
    """
    with _becoming(directory) as unfinished:
        return await _unpack(pieces, unfinished, database)


@contextmanager
def _becoming(directory: Path) -> Iterator[Path]:
    """Give a directory that takes its place in the end, or is gone when the block raises."""
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.exists() and any(directory.iterdir()):
            raise SettingsError(
                f"{directory} is not empty, and nothing in it is overwritten",
                hint="stop the server, move the directory away, and restore again; or name another with --state-dir",
            )
        workshop = _workshop(directory)
        unfinished = workshop / f".{directory.name}.{secrets.token_hex(8)}"
        try:
            unfinished.mkdir(mode=0o700)
            yield unfinished
            _give_away(unfinished, directory.parent.stat())
            private_file.sync_directory(unfinished)
            unfinished.rename(directory)  # which takes the place of an empty one
            private_file.sync_directory(directory.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise SettingsError(
            f"{directory} cannot be filled ({error.strerror})",
            hint="run this as the user that runs the server, or as root, and look at the disk's space",
        ) from None


async def _unpack(pieces: Iterable[bytes], directory: Path, database: str | None) -> Contents:
    records = _records(pieces)
    owner = next(records)
    if not isinstance(owner, Owner):
        raise BackupUnusable("it does not say whose it is")
    try:
        onion_key = decode_onion_address(owner.address)
    except MalformedOnionAddress:
        raise BackupUnusable("it does not say whose it is") from None
    contents = Contents(owner.address)

    async def kept() -> AsyncIterator[Kept]:
        for record in records:
            contents.note(record)
            match record:
                case Owner():
                    raise BackupUnusable("it is of two servers")
                case KeyFile():
                    private_file.create(directory / KEY_FILE, _checked(record.content, owner))
                case ClientsFile():
                    private_file.create(directory / CLIENTS_FILE, record.content)
                case _:
                    yield record

    store = await open_store(database, directory, onion_key, KEEP_ALL)
    try:
        await store.take_in(kept())
    finally:
        await store.close()
    return contents


def _records(pieces: Iterable[bytes]) -> Iterator[Record]:
    decoder = Decoder()
    for piece in pieces:
        yield from decoder.feed(piece)
    decoder.finish()


def _checked(key_file: bytes, owner: Owner) -> bytes:
    key = ServiceKey.decode(key_file.decode("latin-1"))
    if key is None or key.address != owner.address:
        raise BackupUnusable("the onion key in it is another server's, or none")
    return key_file


def _workshop(directory: Path) -> Path:
    """Choose a directory on the same file system in which to make it.

    For root it is one of root's where there is one: in the server's own, the server's user could put a link in the
    place of what root is about to write, or to give away.
    """
    above = directory.parent
    if os.geteuid() != 0:
        return above
    device = above.stat().st_dev
    ours = (one for one in directory.parents if (one.stat().st_uid, one.stat().st_dev) == (0, device))
    return next(ours, above)


def _give_away(directory: Path, above: os.stat_result) -> None:
    if os.geteuid() == 0:
        for each in (*directory.iterdir(), directory):
            os.chown(each, above.st_uid, above.st_gid, follow_symlinks=False)
