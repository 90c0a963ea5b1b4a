"""The two ways to publish have this in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from onion_rdv.tor.control import RECOMMENDED_TOR

if TYPE_CHECKING:
    from collections.abc import Collection

    from onion_rdv.tor.control import Control


class Provided(NamedTuple):
    """An onion service that a tor has been told to publish.

    ``address`` is 56 characters and ``.onion``; ``proof_of_work`` says whether tor asks for it under load;
    ``fresh`` is False when this tor had the service before, so that no upload need follow; ``warnings`` are texts
    for the operator.
    """

    address: str
    proof_of_work: bool
    fresh: bool
    warnings: tuple[str, ...]


class Way(Protocol):
    """A way to have a tor publish a service; the same one is used again after tor was lost."""

    async def expected_address(self) -> str | None:
        """Tell the address before the service is published, where it is settled by then.

        Raises :class:`~onion_rdv.errors.SettingsError`, and :class:`~onion_rdv.errors.StoreError` as
        :meth:`provide` does.
        """

    async def provide(self, control: Control) -> Provided:
        """Tell tor to publish the service; upload of the descriptor follows later.

        Where this tor has the service already, and lets in somebody who is not to be let in any more, everything
        by which they could come is renewed: introduction points, and the circuits of all clients.
        Raises :class:`~onion_rdv.errors.SettingsError` for what will not mend itself, and
        :class:`~onion_rdv.errors.NoTor` (a subclass) for what may go better with the next connection, as may
        :class:`~onion_rdv.errors.StoreError`, for a disk that is full or fails.
        """

    @property
    def clients(self) -> tuple[str, ...]:
        """Whom to let in: x25519 public keys in base32, none for everybody."""

    def replace_clients(self, keys: Collection[str]) -> bool:
        """Let in these clients, and nobody else, from the next :meth:`provide` on; no key is everybody.

        Gives whether that is a change. Raises :class:`~onion_rdv.errors.SettingsError` for what is no key.
        """

    async def is_provided(self, control: Control) -> bool:
        """Look whether this tor still has the service, after its configuration has changed."""

    async def withdraw(self, control: Control) -> None:
        """Take the service back, where that is what ends it."""


async def version_warnings(control: Control) -> tuple[str, ...]:
    """Warn of a tor that is older than it should be."""
    version = await control.version()
    if version >= RECOMMENDED_TOR:
        return ()
    danger = f"before {RECOMMENDED_TOR} a rendezvous point can impersonate the onion service"
    return (f"this is tor {version}; {danger}: update tor",)


def no_proof_of_work(first_version: str) -> tuple[str, ...]:
    """Warn that the service has no proof of work."""
    lack = f"this tor does not know proof of work here (tor {first_version} and later do, built with it)"
    return (f"{lack}: nothing slows down a flood of introductions",)
