"""The copyright file of a Debian package: the project's own licence, and those of the packages that come with it."""

from __future__ import annotations

import re
from importlib.metadata import Distribution
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from release import ROOT
from release.licences import licences

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = """
It comes with the Python packages that it was tested with. Each is under the licence that is named here; what its
authors ask to be kept with it, notices and the licence in full, is in the files below its name. On Debian, the Apache
License is in /usr/share/common-licenses/Apache-2.0 too, and the GNU LGPL in /usr/share/common-licenses/LGPL-3.
"""

_LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


def copyright_file(packages: Path, path: str) -> str:
    """Write the file for what is installed in ``packages``, which will be at ``path`` on the machine.

    Raises KeyError for a package whose licence nobody has looked at, and ValueError for one that does not bring it.
    """
    found = sorted(place for place in packages.glob("*.dist-info") if not place.name.startswith("onion_rdv-"))
    others = [_entry(metadata, packages, path) for metadata in found]
    return "\n".join(["onion-rdv\n", (ROOT / "LICENSE").read_text(), _OTHERS, *others])


def _entry(metadata: Path, packages: Path, path: str) -> str:
    package = Distribution.at(metadata)
    files = [file for file in sorted(metadata.rglob("*")) if file.is_file() and _LICENCE_FILE.match(file.name)]
    if not files:
        raise ValueError(f"{package.name} brings no licence")
    texts = [f"  {path}/{file.relative_to(packages)}" for file in files]
    return "\n".join([f"{package.name} {package.version}: {licences()[canonicalize_name(package.name)]}", *texts, ""])
