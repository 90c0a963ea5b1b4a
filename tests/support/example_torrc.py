"""torrc.example, which operators copy, with its places moved to where a test may write."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "torrc.example"

_PLACES = {
    "/run/tor/": "tor-run",
    "/run/onion-rdv/": "run",
    "/var/lib/tor/": "tor",
}
_READY = "Bootstrapped 100% (done)"


def written(directory: Path, *, with_service: bool) -> Path:
    """Write the example into a directory, as it is or ``with_service``: the lines in it that make tor keep one."""
    text = EXAMPLE.read_text()
    if with_service:
        text = re.sub(r"^#(?=[A-Z])", "", text, flags=re.MULTILINE)
    for place, name in _PLACES.items():
        (directory / name).mkdir(mode=0o700, exist_ok=True)
        text = text.replace(place, f"{directory / name}/")
    torrc = directory / "torrc"
    torrc.write_text(text.replace("127.0.0.1:9050", "auto").replace("notice syslog", "notice stdout"))
    return torrc


def command(directory: Path, torrc: Path, more: str = "") -> list[str]:
    """Give the command line of a tor with this torrc, that has ``more`` where Debian's has its own defaults."""
    defaults = directory / "defaults"
    defaults.write_text(f"DataDirectory {directory / 'tor'}\n{more}")
    return ["tor", "--defaults-torrc", str(defaults), "-f", str(torrc)]


@contextmanager
def example_tor(directory: Path, more: str, *, with_service: bool) -> Iterator[str]:
    """Run such a tor while the block runs, from when it is up; gives the address of its control socket."""
    torrc = written(directory, with_service=with_service)
    with subprocess.Popen(command(directory, torrc, more), stdout=subprocess.PIPE, text=True) as process:
        try:
            said = []
            for line in process.stdout or ():
                said.append(line)
                if _READY in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield f"unix:{directory}/tor-run/control"
        finally:
            process.kill()
