"""Handing a link to the desktop, over a real message bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from desktop import Portal, message_bus_daemon

from onion_rdv.cli.handover import hand_over
from onion_rdv.errors import NotHandedOver

if TYPE_CHECKING:
    from pathlib import Path

LINK = "simplex:/a#secret-link"
VARIABLE = "DBUS_SESSION_BUS_ADDRESS"


def test_the_portal_gets_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal()
    with message_bus_daemon(tmp_path) as address, portal.on(address):
        monkeypatch.setenv(VARIABLE, address)
        hand_over(LINK)
    assert portal.opened == [("OpenURI", LINK)]


def test_a_portal_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with message_bus_daemon(tmp_path) as address, Portal(refuses=True).on(address):
        monkeypatch.setenv(VARIABLE, address)
        with pytest.raises(NotHandedOver, match="no app for such links"):
            hand_over(LINK)


def test_a_desktop_without_a_portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with message_bus_daemon(tmp_path) as address:
        monkeypatch.setenv(VARIABLE, address)
        with pytest.raises(NotHandedOver, match="the desktop has no portal"):
            hand_over(LINK)


def test_no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(NotHandedOver, match="there is no desktop session here") as caught:
        hand_over(LINK)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "tcp:host=192.0.2.1,port=1", "nonsense", ""])
def test_a_bus_that_is_not_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(NotHandedOver, match="message bus cannot be reached") as caught:
        hand_over(LINK)
    assert "secret" not in caught.value.message
