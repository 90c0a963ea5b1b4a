"""Getting in to private servers: the keys that are kept here are given to the tor that is used."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from onion_rdv.cli.settings import is_there, state_directory
from onion_rdv.errors import ClientAuthorizationNeeded, NoTor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.tor.keyring import Keyring
    from onion_rdv.tor.socks import SocksPort


def keyring(state_dir: Path | None) -> Keyring:
    """Find the keys of this user."""
    from onion_rdv.tor.keyring import Keyring

    return Keyring(_directory(state_dir))


def _directory(state_dir: Path | None) -> Path:
    return state_directory(state_dir).absolute() / "onion-auth"


@asynccontextmanager
async def admitted(state_dir: Path | None, socks: SocksPort, control: str | None) -> AsyncIterator[None]:
    """Give the keys to the tor with this SOCKS port; ``control`` is its control port, None for the usual places.

    Where that cannot be done, only what is private is out of reach: the block goes on, and its
    :class:`~onion_rdv.errors.ClientAuthorizationNeeded` says what to do. Raises
    :class:`~onion_rdv.errors.SettingsError` where the keys cannot be read.
    """
    if not is_there(_directory(state_dir)):  # most people have none, and need not wait for what this imports
        yield
        return
    from onion_rdv.tor.keyring import hand_over

    keys = keyring(state_dir)
    credentials = await asyncio.to_thread(keys.read)
    trouble: NoTor | None = None
    if credentials:
        try:
            await hand_over(credentials, socks, control)
        except NoTor as error:
            trouble = error
    try:
        yield
    except ClientAuthorizationNeeded as error:
        if trouble is None:
            raise
        seen = f"{error.detail}; " if error.detail else ""
        raise ClientAuthorizationNeeded(
            f"{seen}the tor at {socks} could not be given the keys that are kept here ({trouble.message})",
            hint=f"{trouble.hint}; name its control port with --socks-control; or let it read the keys by itself,"
            " with the line ClientOnionAuthDir /var/lib/tor/onion-auth in its torrc and copies of the files in"
            f" {keys.directory} there, owned by tor's user and closed to others (chmod 600)",
        ) from None
