"""What an initiator does: seal a link, leave it, check the server, and only then hand out an invite."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.errors import BucketUnknown, ServerCheckFailed
from onion_rdv.protocol import (
    SALT_SIZE,
    BucketId,
    Invite,
    Limits,
    bucket_link,
    check_bucket_id,
    check_entry,
    encode_link,
    normalise_passphrase,
    seal,
)
from onion_rdv.protocol.bucket import LIFETIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from onion_rdv.tor.socks import SocksPort


@dataclass(frozen=True, slots=True)
class Offer:
    """A link that waits at a rendezvous server, checked."""

    invite: Invite
    server: RendezvousServer
    bucket_id: BucketId
    checked_at: float
    """Unix time of the check by this machine's clock."""

    @property
    def expires_at(self) -> int:
        """Unix time at which a server with the usual settings erases the bucket."""
        return self.bucket_id.created_at + LIFETIME


def check_link(link: str) -> None:
    """Refuse, before anything is started or sent, what :func:`offer` would refuse.

    Raises :class:`~onion_rdv.errors.MalformedLink` or :class:`~onion_rdv.errors.LinkTooLong`.
    """
    encode_link(link)


async def offer(
    link: str,
    passphrase: str,
    server: RendezvousServer,
    socks: SocksPort,
    *,
    limits: Limits,
    timeout: float,
    step: Callable[[str], None],
) -> Offer:
    """Seal ``link``, store it, and make the initiator's three checks.

    ``step`` is told in a few words what comes next; ``timeout`` (seconds) bounds each request. Raises
    :class:`~onion_rdv.errors.UsageError` for a bad link or passphrase, :class:`~onion_rdv.errors.NoTor`,
    :class:`~onion_rdv.errors.ServerUnreachable`, :class:`~onion_rdv.errors.ServerCheckFailed`.
    """
    client = RendezvousClient(socks, server, timeout, tell=step)
    sealing = _Sealing(link, normalise_passphrase(passphrase), server)
    async with client.ahead(2):
        step("sealing the link, and leaving it at the rendezvous server")
        bucket_id, bucket = await client.store(sealing.seal)
        entry, salt = sealing.entry, sealing.salt
        step("checking the bucket")
        now = time.time()
        check_entry(entry, bucket, "the bucket that the server returned")
        check_bucket_id(bucket_id, now, limits)
        found_as = await asyncio.to_thread(bucket_link, bucket_id, server.onion_key)
        step("fetching it again over another circuit")
        try:
            check_entry(entry, await client.fetch(found_as), "the bucket as others get it")
        except BucketUnknown:
            raise ServerCheckFailed("it does not find the bucket that it says it put our entry in") from None
    return Offer(Invite(server.onion_key, server.port, found_as, salt), server, bucket_id, now)


class _Sealing:
    """A link that is sealed as often as it has to be sent; ``entry`` and ``salt`` are the last."""

    def __init__(self, link: str, passphrase: bytes, server: RendezvousServer) -> None:
        self._sealed = (link, passphrase)
        self._server = server
        self.entry = self.salt = b""

    async def seal(self) -> bytes:
        """Give a new entry, with a salt that was never used."""
        self.salt = secrets.token_bytes(SALT_SIZE)
        self.entry = await asyncio.to_thread(seal, *self._sealed, self.salt, self._server.onion_key)
        return self.entry
