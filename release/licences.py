"""The licences of the packages that the program needs, as ``licences.toml`` beside this module has them."""

from __future__ import annotations

import tomllib
from functools import cache

from release import ROOT


@cache
def licences() -> dict[str, str]:
    """Give the licence of each package, an SPDX expression, under its name in the lock file."""
    found: dict[str, str] = tomllib.loads((ROOT / "release" / "licences.toml").read_text())
    return found
