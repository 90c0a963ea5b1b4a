"""The lock files: every package that is installed, with the hashes of its files and the packages that need it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUN = ROOT / "requirements.lock"
"""What the program needs, and a package of it brings."""

LOCKS = (
    RUN,
    ROOT / "requirements-build.lock",
    ROOT / "requirements-dev.lock",
    ROOT / "bench" / "requirements.lock",
    ROOT / "bench" / "requirements-build.lock",
)

_PACKAGE = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[0-9][0-9a-z.+!]*)(?: ; (?P<marker>[^\\]+))?")
_HASH = re.compile(r"    --hash=sha256:(?P<digest>[0-9a-f]{64})")
_VIA = re.compile(r"    # (?:via(?: (?P<only>.+))?|  (?P<one>.+))")


@dataclass(frozen=True)
class Locked:
    """One package as it is locked: name (normalised as PyPI does), version, and where it is installed at all."""

    name: str
    version: str
    marker: str
    """An environment marker, or nothing for everywhere."""
    digests: tuple[str, ...]
    """SHA-256, in hexadecimal, of each file that may be installed for it."""
    via: tuple[str, ...]
    """Who needs it: names of packages, or the file and group that ask for it themselves."""


def read(lock: Path) -> list[Locked]:
    """Give every package of a lock file, in its order.

    Raises ValueError for a line that is none of a pinned version, a SHA-256 and a reason: an option, another index, a
    URL, a path, a range.
    """
    found: list[Locked] = []
    entry: list[str] = []
    for line in [*lock.read_text().splitlines(), ""]:
        if not line.startswith("    ") and entry:
            found.append(_entry(entry, lock.name))
            entry = []
        if line and not line.startswith("#"):
            entry.append(line.removesuffix(" \\"))
    return found


def _entry(lines: list[str], where: str) -> Locked:
    package = _PACKAGE.fullmatch(lines[0])
    if not package:
        raise ValueError(f"{where}: not one version of a package: {lines[0]}")
    digests, via = [], []
    for line in lines[1:]:
        if digest := _HASH.fullmatch(line):
            digests.append(digest["digest"])
        elif reason := _VIA.fullmatch(line):
            via += [name for name in (reason["only"] or reason["one"],) if name]
        else:
            raise ValueError(f"{where}: neither a SHA-256 nor a reason: {line}")
    return Locked(package["name"], package["version"], package["marker"] or "", tuple(digests), tuple(via))
