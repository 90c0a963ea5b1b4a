"""Traffic between all relays of a private network, as there always is between those of the public one.

A relay that ends several circuits at once holds back some of its DESTROY cells (tor-spec, "Tearing down circuits")
until it has something else to send to the same neighbour, as was seen with tor 0.4.9.11. Between relays that have
nothing to say to each other this can be minutes. For so long an introduction point goes on to confirm introductions
to a service whose tor has ended, and clients go on by its old descriptor.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PAUSE = 0.5
"""Seconds from one step to the next."""

_MOST_HOPS = 8
"""Relays of one circuit; a client may extend it eight times (tor-spec, "Handling relay-early cells")."""

_KEPT = 4
"""Circuits that are left open; the oldest has been built long before it is closed."""

_PATIENCE = 2.0  # seconds; tor answers within milliseconds


def paths(relays: int) -> Iterator[tuple[int, ...]]:
    """Give the paths of circuits without end, in which every two relays of so many are neighbours again and again.

    Each zigzags from another relay over all of them (0, 1, 5, 2, 4, 3 of six), in pieces where they are many.
    """
    zigzag = [-(step // 2) if step % 2 == 0 else (step + 1) // 2 for step in range(relays)]
    while True:
        for first in range(relays):
            path = [(first + step) % relays for step in zigzag]
            for begin in range(0, max(relays - 1, 1), _MOST_HOPS - 1):
                yield tuple(path[begin : begin + _MOST_HOPS])


class Traffic:
    """Circuits from one relay over the others, built one after the other; nothing is sent over them.

    ``origin`` is the directory of the relay that builds them, whose control port is ``control_port`` of 127.0.0.1;
    ``others`` are those of all other relays. All have bootstrapped.
    """

    def __init__(self, control_port: int, origin: Path, others: Sequence[Path]) -> None:
        self._address = ("127.0.0.1", control_port)
        self._cookie = origin / "control_auth_cookie"
        self._fingerprints = [(relay / "fingerprint").read_text().split()[1] for relay in others]
        self._paths = paths(len(others))
        self._control: socket.socket | None = None
        self._circuits: list[str] = []

    def step(self) -> None:
        """Have one more circuit built, and close the oldest; do nothing while the relay is not there."""
        try:
            self._step()
        except OSError:
            self.close()

    def _step(self) -> None:
        if self._control is None:
            self._control = socket.create_connection(self._address, _PATIENCE)
            self._ask(self._control, f"AUTHENTICATE {self._cookie.read_bytes().hex()}")
        path = ",".join(f"${self._fingerprints[relay]}" for relay in next(self._paths))
        _, _, circuit = self._ask(self._control, f"EXTENDCIRCUIT 0 {path}").partition("250 EXTENDED ")
        if circuit:  # it is refused where the path leads over a relay that has ended
            self._circuits.append(circuit)
        if len(self._circuits) > _KEPT:
            self._ask(self._control, f"CLOSECIRCUIT {self._circuits.pop(0)}")

    @staticmethod
    def _ask(control: socket.socket, command: str) -> str:
        """Send a command whose reply is one line; gives that (control-spec, "Replies from Tor to the controller")."""
        control.sendall(f"{command}\r\n".encode())
        reply = b""
        while not reply.endswith(b"\r\n"):
            arrived = control.recv(4096)
            if not arrived:
                raise ConnectionResetError
            reply += arrived
        return reply.decode("ascii", "replace").rstrip()

    def close(self) -> None:
        """Close the control connection; what was built stays with tor."""
        if self._control is not None:
            self._control.close()
        self._control = None
        self._circuits.clear()
