"""What an acceptor does: fetch the bucket that an invite names, and find the entry that opens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.protocol import Invite, derive_keys, normalise_passphrase, open_bucket, open_bucket_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.tor.socks import SocksPort


class Acceptance:
    """An invite being accepted: the bucket is fetched once, and other passphrases can be tried on it."""

    def __init__(self, invite: Invite, socks: SocksPort, *, timeout: float, step: Callable[[str], None]) -> None:
        """Prepare to fetch through ``socks`` within ``timeout`` seconds.

        ``step`` is told in a few words what else is done.
        """
        self.invite = invite
        self.server = RendezvousServer(invite.onion_key, invite.port)
        self._client = RendezvousClient(socks, self.server, timeout, tell=step)
        self._bucket: bytes | None = None

    async def open(self, passphrase: str) -> str:
        """Give the link.

        Raises :class:`~onion_rdv.errors.NoEntryOpens` (then another passphrase may be tried) and what
        :func:`~onion_rdv.protocol.open_bucket` and :meth:`~onion_rdv.client.server.RendezvousClient.fetch` raise.
        """
        secret = normalise_passphrase(passphrase)
        salt, onion_key = self.invite.salt, self.invite.onion_key
        if self._bucket is not None:
            return await asyncio.to_thread(open_bucket, self._bucket, secret, salt, onion_key)
        # The keys take as long as the network does, and need nothing from it.
        deriving = asyncio.create_task(asyncio.to_thread(derive_keys, secret, salt, onion_key))
        try:
            self._bucket = await self._client.fetch(self.invite.bucket_link)
        finally:
            keys = await deriving
        return open_bucket_with(self._bucket, keys)
