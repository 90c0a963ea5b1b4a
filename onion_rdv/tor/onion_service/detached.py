"""The note about an onion service that was left with a tor, so that the next run can take it over.

A file of mode 0600 and two lines of ASCII::

    ADDRESS.onion
    DIGEST

``DIGEST`` is the SHA-256, in hexadecimal, of how the tor was told to serve it, without the key: a service that was
told anything else is not what is wanted now. Where there is no note, a service of that key is somebody else's.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from onion_rdv.errors import SettingsError
from onion_rdv.tor.onion_service import circuits, disk, private_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onion_rdv.tor.control import Control

NOTE_FILE = "onion-service.left"


class Left(NamedTuple):
    """What the note says; ``address`` is 56 characters and ``.onion``."""

    address: str
    digest: str

    @classmethod
    def told(cls, address: str, words: str) -> Left:
        """Describe a service that a tor is told to serve with these words, the key not among them."""
        return cls(address, hashlib.sha256(f"{address} {words}".encode()).hexdigest())


def read(note: Path) -> Left | None:
    """Read the note; None where there is none that can be believed. Blocks."""
    with suppress(OSError, SettingsError, ValueError):
        return Left(*private_file.load(note, SettingsError).decode("ascii").splitlines())
    return None


def write(note: Path, left: Left) -> None:
    """Have the note say this, safely on the disk. Blocks.

    Where it says so already nothing is written: a tor that was restarted is told the same again, on a full disk too.
    Raises :class:`~onion_rdv.errors.StoreError` for a disk that is full or fails, and
    :class:`~onion_rdv.errors.SettingsError` where this user may not write it.
    """
    if read(note) != left:
        with _explained(note):
            private_file.replace(note, "".join(f"{line}\n" for line in left).encode("ascii"))


def forget(note: Path) -> None:
    """Remove the note, if there is one; raises as :func:`write` does. Blocks."""
    with _explained(note):
        if note.exists():  # a disk that cannot be written refuses to remove what is not there, too
            note.unlink(missing_ok=True)


@contextmanager
def _explained(note: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk.fault(error, note) or SettingsError(
            f"{note} cannot be written: {error.strerror}", hint="look at its directory's permissions"
        ) from error


async def is_there(control: Control, address: str) -> bool:
    """Tell whether this tor has the service, and no control connection does."""
    return address.removesuffix(".onion") in (await control.info("onions/detached")).split()


async def delete(control: Control, address: str, *, close_clients: bool = False) -> None:
    """DEL_ONION, which tor does at once; harmless where it has no such service.

    Tor leaves the circuits of clients that are connected, for what is under way on them, unless ``close_clients``
    ends them: should the same key be added again, they lead to it.
    """
    reply = await control.msg(f"DEL_ONION {address.removesuffix('.onion')}")
    if reply.ok and close_clients:
        await circuits.close_clients(control, address)


async def take_back(control: Control, note: Path) -> str | None:
    """Take back the service that the note is about, and the note; gives its address, None where nothing was left.

    Raises :class:`~onion_rdv.errors.ControlLost`, and as :func:`write` does; the note stays then.
    """
    left = await asyncio.to_thread(read, note)
    if left is None:
        return None
    await delete(control, left.address)
    await asyncio.to_thread(forget, note)
    return left.address
