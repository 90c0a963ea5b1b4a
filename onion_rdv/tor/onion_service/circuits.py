"""The circuits that a tor holds for an onion service (control-spec, "GETINFO circuit-status")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onion_rdv.tor.control import Control

_INTRODUCING = "HS_STATE=HSSI_ESTABLISHED"
_TO_CLIENT = "PURPOSE=HS_SERVICE_REND"


async def _of(control: Control, address: str) -> list[list[str]]:
    service = f"REND_QUERY={address.removesuffix('.onion')}"
    circuits = [line.split() for line in (await control.info("circuit-status")).splitlines()]
    return [circuit for circuit in circuits if service in circuit]


async def introduces(control: Control, address: str) -> bool:
    """Tell whether a relay introduces clients to this service by now."""
    return any(_INTRODUCING in circuit for circuit in await _of(control, address))


async def close_clients(control: Control, address: str) -> None:
    """Close the circuits that clients hold: a client can open streams on one for as long as it stands."""
    for number, *fields in await _of(control, address):
        if _TO_CLIENT in fields:
            await control.msg(f"CLOSECIRCUIT {number}")  # it may have ended by itself
