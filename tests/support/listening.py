"""Which process listens where, as the kernel's tables tell it."""

from __future__ import annotations

from pathlib import Path

_LISTENS = "0A"


def listening_process(port: int) -> int:
    """Find the process that listens on a port of 127.0.0.1."""
    [inode] = [inode for found, inode in _listeners() if found == port]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if inode in _sockets(process):
                    return int(process.name)
            except OSError:
                continue
    raise AssertionError(f"nobody listens on port {port}")


def listened_ports(pid: int) -> list[int]:
    """Give the ports of 127.0.0.1 on which a process listens."""
    own = _sockets(Path(f"/proc/{pid}"))
    return [port for port, inode in _listeners() if inode in own]


def _listeners() -> list[tuple[int, str]]:
    """Give all ports of 127.0.0.1 on which somebody listens, and the inodes of the sockets."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
    places = [(row[1].partition(":"), row[9]) for row in rows if row[3] == _LISTENS]
    return [(int(port, 16), inode) for (address, _, port), inode in places if address == "0100007F"]


def _sockets(process: Path) -> set[str]:
    """Give the inodes of the sockets that a process has; raises OSError where it has ended."""
    links = [str(link.readlink()) for link in (process / "fd").iterdir()]
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
