"""Which addresses a program opens anything to, as strace sees it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CONNECT = re.compile(r"(?:connect|sendto|sendmsg|bind)\(\d+, (.*)")
_ADDRESS = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')


def addresses_of(trace: Path) -> set[str]:
    """Give every network address that a process or its children connected, sent or bound to."""
    found = set()
    for line in trace.read_text().splitlines():
        call = _CONNECT.search(line)
        if call is None or "AF_UNIX" in call[1] or "AF_NETLINK" in call[1]:
            continue
        if "AF_INET" not in call[1]:
            continue  # more bytes to where it is connected already
        address = _ADDRESS.search(call[1])
        found.add(f"{address[2]}:{address[1]}" if address else call[1])
    return found


def tracer(trace: Path) -> tuple[str, ...]:
    strace = shutil.which("strace")
    assert strace, "strace is not installed: make test installs it"
    return (strace, "-D", "-f", "-qq", "-e", "trace=network", "-o", str(trace))
