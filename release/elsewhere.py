"""A release built in another place: a copy of the checkout, under another umask, in another time zone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release import ROOT
from release.epoch import VARIABLE


def copy_checkout(to: Path) -> Path:
    """Copy every file that git knows, or would take."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # or it is deleted, and git has not been told yet
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to


def uncommitted() -> list[str]:
    """Name the files of the checkout that are not as the last commit has them, or that it does not have."""
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "-z"]
    status = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [entry[3:] for entry in status.split("\0") if entry]


def release(
    checkout: Path, what: str, output: Path, *, epoch: int, revision: int = 1, umask: int = 0o022, zone: str = "UTC"
) -> list[Path]:
    """Run ``python -m release`` there, in a time zone; gives what it made."""
    made = subprocess.run(
        [sys.executable, "-m", "release", what, "--output", output, "--revision", str(revision)],
        cwd=checkout,
        env=os.environ | {VARIABLE: str(epoch), "PYTHONPATH": str(checkout), "TZ": zone},
        umask=umask,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Path(line) for line in made.stdout.splitlines()]


def differing(made: list[Path], what: str, *, epoch: int, revision: int) -> list[str]:
    """Build ``what`` once more elsewhere, and name the files in which the bytes are others than in those ``made``."""
    with tempfile.TemporaryDirectory() as directory:
        checkout = copy_checkout(Path(directory) / "checkout")
        output = Path(directory) / "made"
        again = release(checkout, what, output, epoch=epoch, revision=revision, umask=0o077, zone="UTC-12")
        here = {path.name: path.read_bytes() for path in made}
        there = {path.name: path.read_bytes() for path in again}
    return sorted(name for name in here | there if here.get(name) != there.get(name))
