"""The wheel and the sdist, as hatchling makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from onion_rdv import __version__
from release import ROOT
from release.epoch import VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


def build(output: Path, epoch: int) -> list[Path]:
    """Build both in the directory ``output``, everything in them of the time ``epoch``; gives their paths."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(output)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {VARIABLE: str(epoch)}, stdout=sys.stderr, check=True)
    names = (f"onion_rdv-{__version__}.tar.gz", f"onion_rdv-{__version__}-py3-none-any.whl")
    return [output / name for name in names]
