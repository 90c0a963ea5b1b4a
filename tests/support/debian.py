"""A bare Debian 12 in a directory, made once and copied for every run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"

_PACKAGES = ("systemd", "systemd-sysv", "dbus")  # what a machine has that nobody has set up yet
_SOURCES = f"""\
deb {MIRROR} {SUITE} main
deb {MIRROR} {SUITE}-updates main
deb {MIRROR}-security {SUITE}-security main
"""


def bare(cache: Path) -> Path:
    """Give the tree in the directory ``cache``, made there by debootstrap where it is not yet."""
    tree = cache / SUITE
    if not tree.exists():
        unfinished = cache / f"{SUITE}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
        made = subprocess.run(
            # What it mounts there is mounted for it alone, and ends with it, however it ends.
            ["unshare", "--mount", "debootstrap", *options, SUITE, unfinished, MIRROR],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout[-2000:]
        (unfinished / "etc/apt/sources.list").write_text(_SOURCES)
        if proxy := _proxy():
            (unfinished / "etc/apt/apt.conf.d/90proxy").write_text(f'Acquire::http::Proxy "{proxy}";\n')
        unfinished.rename(tree)
    return tree


def copy(tree: Path, to: Path) -> None:
    """Copy a tree with its owners and modes."""
    subprocess.run(["cp", "--archive", "--reflink=auto", tree, to], check=True)


def _proxy() -> str:
    """Give the proxy that this machine's apt uses, or nothing."""
    command = ["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return shlex.split(said)[0].removeprefix("PROXY=") if said else ""
