"""What goes into a backup, from a server that runs or from the state directory of one that does not."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onion_rdv.errors import KeyFileUnusable, NoServerHere, SettingsError
from onion_rdv.protocol import decode_onion_address
from onion_rdv.rendezvous.backup.records import ClientsFile, KeyFile, Owner
from onion_rdv.rendezvous.kept import Marks
from onion_rdv.rendezvous.opening import STORE_FILE, open_store
from onion_rdv.rendezvous.rules import KEEP_ALL
from onion_rdv.tor.onion_service import state_directory
from onion_rdv.tor.onion_service.client_list import CLIENTS_FILE
from onion_rdv.tor.onion_service.hosting import KEY_FILE
from onion_rdv.tor.onion_service.key_file import ServiceKey
from onion_rdv.tor.onion_service.place import read_address

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from onion_rdv.rendezvous.backup.records import Record
    from onion_rdv.rendezvous.store import BucketStore

_TORS_KEY_FILE = "hs_ed25519_secret_key"
_LONGEST_FILE = 65_536


@dataclass(frozen=True, slots=True)
class Places:
    """Where a server keeps what is its own.

    ``onion_service_dir`` is tor's, where tor keeps the key; ``key`` is the key where somebody else does; ``database``
    is the URL of the store where it is in PostgreSQL, and ``front`` the onion address that it is bound to in place of
    the key's.
    """

    state_directory: Path
    onion_service_dir: Path | None = None
    key: ServiceKey | None = field(default=None, repr=False)
    database: str | None = field(default=None, repr=False)
    front: str | None = None


async def running_server(address: str, places: Places, store: BucketStore) -> AsyncGenerator[Record]:
    """Give what a server keeps while it runs; ``address`` is what its store is bound to.

    Raises :class:`~onion_rdv.errors.StoreError`.
    """
    for record in await asyncio.to_thread(_files, address, places):
        yield record
    async for kept in store.export():
        yield kept


async def stopped_server(places: Places) -> AsyncGenerator[Record]:
    """Give what a server keeps that does not run.

    Raises :class:`~onion_rdv.errors.NoServerHere` where there is none either, and
    :class:`~onion_rdv.errors.StoreError` where its store cannot be used, for instance because it runs after all.
    """
    address = await asyncio.to_thread(_address, places)
    for record in await asyncio.to_thread(_files, address, places):
        yield record
    if places.database is None and not await asyncio.to_thread(_is_its_own, places.state_directory / STORE_FILE):
        yield Marks(-1, -1, 0, 0, 0)
        return
    with state_directory.in_use(places.state_directory):
        store = await open_store(places.database, places.state_directory, decode_onion_address(address), KEEP_ALL)
        try:
            async for kept in store.export():
                yield kept
        finally:
            await store.close()


async def with_tors_key(records: AsyncIterator[Record], places: Places) -> AsyncGenerator[Record]:
    """Add the key that tor keeps where the server could not read it and this user can."""
    address = None
    async for record in records:
        if address is not None and not isinstance(record, KeyFile):
            key = await asyncio.to_thread(_tors_key, address, places)
            if key is not None:
                yield key
        address = record.address if isinstance(record, Owner) else None
        yield record


def _address(places: Places) -> str:
    if places.front is not None:
        return places.front
    key = _own_key(places)
    if key is not None:
        return key.address
    if places.onion_service_dir is not None:
        with suppress(OSError):
            return read_address(places.onion_service_dir)
    raise NoServerHere(
        f"none runs, and none has left a key in {places.state_directory}",
        hint="name the directory with --state-dir, or that of the key that tor keeps with --onion-service-dir",
    )


def _files(address: str, places: Places) -> list[Record]:
    records: list[Record] = [Owner(address)]
    own = _own_key(places)
    if own is not None and own.address == address:
        records.append(KeyFile(own.encode().encode("ascii")))
    elif (tors := _tors_key(address, places)) is not None:
        records.append(tors)
    clients = _read(places.state_directory / CLIENTS_FILE)
    if clients is not None:
        records.append(ClientsFile(clients))
    return records


def _own_key(places: Places) -> ServiceKey | None:
    if places.key is not None:
        return places.key
    path = places.state_directory / KEY_FILE
    content = _read(path)
    if content is None:
        return None
    key = ServiceKey.decode(content.decode("latin-1"))
    if key is None:
        raise KeyFileUnusable(f"{path} is damaged or no key file")
    return key


def _tors_key(address: str, places: Places) -> KeyFile | None:
    """Give the key that tor keeps, as our own file would have it; None where this user may not read it."""
    if places.onion_service_dir is None:
        return None
    try:
        key = ServiceKey.from_tors_file((places.onion_service_dir / _TORS_KEY_FILE).read_bytes())
    except OSError:
        return None
    if key is None or key.address != address:
        return None
    return KeyFile(key.encode().encode("ascii"))


def _read(path: Path) -> bytes | None:
    """Read a file of the server's; None where it is not there."""
    if not _is_its_own(path):
        return None
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(opened, "rb") as file:
            return file.read(_LONGEST_FILE)
    except OSError as error:
        raise _unreadable(path, error.strerror) from None


def _is_its_own(path: Path) -> bool:
    """Tell whether a file is there, and refuse one that is not the server's: root must not be led elsewhere."""
    try:
        status, directory = path.lstat(), path.parent.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in {directory.st_uid, os.geteuid()}:
        raise _unreadable(path, "it is no file of the server's own")
    return True


def _unreadable(path: Path, reason: str | None) -> SettingsError:
    return SettingsError(
        f"{path} cannot be read ({reason})", hint="run this as the user that runs the server, or root"
    )
