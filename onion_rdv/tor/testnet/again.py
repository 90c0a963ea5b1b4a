"""This program again, in a process of its own, wherever its packages are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGES = Path(__file__).parents[3]  # whatever made this process find them need not be there for another one


def command(module: str) -> list[str]:
    """Give the command that runs one of our modules.

    The directory that the person happens to stand in (-P) is no place to import from.
    """
    return [sys.executable, "-P", "-m", module]


def search_path() -> dict[str, str]:
    """Give the variable that :func:`command` needs in its environment."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))}
