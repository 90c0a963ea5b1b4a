"""Tor's control port: find it, be let in, ask, and listen (control-spec).

``connect`` opens the port at one address, ``find`` tries the usual ones; both give a :class:`Control`.
stem does the talking, in threads of its own; nothing here blocks the event loop.
"""

from onion_rdv.tor.control.connection import RECOMMENDED_TOR, Control, Event, Reply
from onion_rdv.tor.control.opening import connect, find
from onion_rdv.tor.control_address import USUAL_ADDRESSES, ControlAddress, distinct

__all__ = [
    "RECOMMENDED_TOR",
    "USUAL_ADDRESSES",
    "Control",
    "ControlAddress",
    "Event",
    "Reply",
    "connect",
    "distinct",
    "find",
]
