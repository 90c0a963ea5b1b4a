"""A real tor with a control port and no network: up in a fraction of a second."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COOKIE = "CookieAuthentication 1"
_LISTENING = re.compile(r"Opened Control listener connection \(ready\) on (\S+)$")


@dataclass(frozen=True)
class OfflineTor:
    """``control`` is the address of its control port; ``directory`` is its data directory, mode 0700."""

    control: str
    pid: int
    directory: Path

    @property
    def cookie(self) -> Path:
        return self.directory / "control_auth_cookie"


@contextmanager
def offline_tor(directory: Path, *torrc: str, port: str = "auto") -> Iterator[OfflineTor]:
    """Run tor with these lines in its torrc while the block runs; ``port`` is what follows ``ControlPort``."""
    data = directory / "data"
    data.mkdir(mode=0o700, parents=True)
    defaults = directory / "defaults"
    defaults.touch()
    lines = [f'DataDirectory "{data}"', "SocksPort 0", "DisableNetwork 1", f"ControlPort {port}", *torrc]
    (directory / "torrc").write_text("\n".join([*lines, "Log notice stdout", ""]))
    command = ["tor", "--defaults-torrc", str(defaults), "-f", str(directory / "torrc")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield OfflineTor(_await_start(process), process.pid, data)
        finally:
            process.kill()


def _await_start(process: subprocess.Popen[str]) -> str:
    said, control = [], ""
    for line in process.stdout or ():
        said.append(line)
        if found := _LISTENING.search(line.rstrip()):
            control = f"unix:{found[1]}" if found[1].startswith("/") else found[1]
        if "Bootstrapped 0%" in line:  # by then it has written its cookie, too
            return control
    raise AssertionError(f"tor did not start: {''.join(said)}")
