r"""The line with which tor says on which circuit a stream came, before the stream's own first byte.

With ``HiddenServiceExportCircuitID haproxy`` (tor's manual) tor begins every stream with a header of HAProxy's PROXY
protocol, version 1 (haproxy.org, "The PROXY protocol", section 2.1), in which the circuit's number stands as an
address::

    PROXY TCP6 fc00:dead:beef:4dad::HIGH:LOW ::1 PORT PORT\r\n

HIGH and LOW are the two halves of the number's 32 bits, in hexadecimal. A number tells one circuit of this tor from
another, and nothing about who is at its other end.
"""

from __future__ import annotations

import re
from typing import Final

from onion_rdv.errors import MalformedRequest

LONGEST: Final = 107
"""Bytes that a header of version 1 has at most, its end of line included."""

NO_CIRCUIT: Final = 0
"""The number that tor writes where there is no circuit; it gives none of them this one."""

_LINE: Final = re.compile(
    rb"PROXY TCP6 fc00:dead:beef:4dad::([0-9a-f]{1,4}):([0-9a-f]{1,4}) ::1 [0-9]{1,5} [0-9]{1,5}\r\n"
)


class ProxyLine:
    """Reads the line out of the pieces in which a stream comes."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> tuple[int, bytes] | None:
        """Take what came; give the circuit's number and what stands behind the line, or None until it is whole.

        Not more than :data:`LONGEST` bytes are ever held. Raises :class:`~onion_rdv.errors.MalformedRequest` as soon
        as this cannot become such a line.
        """
        wanted = LONGEST - len(self._held)
        held = self._held + data[:wanted]
        head, end, _ = held.partition(b"\r\n")
        if not end:
            if len(held) == LONGEST or not b"PROXY TCP6 ".startswith(held[:11]):
                raise MalformedRequest("it does not begin with a PROXY line")
            self._held = held
            return None
        line = head + end
        found = _LINE.fullmatch(line)
        if found is None:
            raise MalformedRequest("its PROXY line is not one of tor's")
        rest = data[len(line) - len(self._held) :]
        self._held = b""
        return int(found[1], 16) << 16 | int(found[2], 16), rest


def write(circuit: int, port: int = 80) -> bytes:
    """Write the line as tor does, for a circuit's number of 32 bits."""
    low = circuit & 0xFFFF
    return f"PROXY TCP6 fc00:dead:beef:4dad::{circuit >> 16:x}:{low:x} ::1 {low} {port}\r\n".encode()
