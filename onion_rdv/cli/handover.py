"""Handing a link to the app that is there for it, through the desktop's portal (org.freedesktop.portal.OpenURI).

Not through ``xdg-open``: the link would be one of its arguments, which everybody on the machine can read.
"""

from __future__ import annotations

from typing import Final

from onion_rdv.errors import NotHandedOver

_PORTAL: Final = "org.freedesktop.portal.Desktop"
_PATH: Final = "/org/freedesktop/portal/desktop"
_INTERFACE: Final = "org.freedesktop.portal.OpenURI"
_PATIENCE: Final = 10.0  # seconds; the portal answers before it asks the person anything


def hand_over(uri: str) -> None:
    """Ask the desktop to open a URI; returns when it has taken it.

    Raises :class:`~onion_rdv.errors.NotHandedOver`.
    """
    from jeepney import DBusAddress, MessageType, new_method_call
    from jeepney.io.blocking import open_dbus_connection

    portal = DBusAddress(_PATH, bus_name=_PORTAL, interface=_INTERFACE)
    call = new_method_call(portal, "OpenURI", "ssa{sv}", ("", uri, {}))
    try:
        with open_dbus_connection(bus="SESSION") as connection:
            reply = connection.send_and_get_reply(call, timeout=_PATIENCE)
    except KeyError:
        raise NotHandedOver("there is no desktop session here") from None
    except TimeoutError:
        raise NotHandedOver(f"the desktop's portal has not answered within {_PATIENCE:.0f} seconds") from None
    except (OSError, RuntimeError, ValueError, EOFError):  # jeepney's own words could repeat what it was given
        raise NotHandedOver("the session's message bus cannot be reached") from None
    if reply.header.message_type is not MessageType.method_return:
        raise NotHandedOver("the desktop has no portal, or no app for such links")
