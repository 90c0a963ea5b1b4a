"""A copy of the checkout: what git would have in it, somewhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


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


def release(
    checkout: Path, what: str, output: Path, *, epoch: int, umask: int = 0o022, zone: str = "UTC"
) -> list[Path]:
    """Run ``python -m release`` there, in a time zone; gives what it made."""
    made = subprocess.run(
        [sys.executable, "-m", "release", what, "--output", output],
        cwd=checkout,
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONPATH": str(checkout), "TZ": zone},
        umask=umask,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Path(line) for line in made.stdout.splitlines()]
