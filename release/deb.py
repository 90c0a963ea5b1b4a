"""The Debian package: a tree of files, what dpkg has to know of it, and both in one file."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from onion_rdv import __version__
from release import ROOT, contents
from release.epoch import VARIABLE
from release.tree import PROGRAM, Tree

_SCRIPTS = ("postinst", "prerm", "postrm")
_SOURCES = ROOT / "release" / "debian"

_APPARMOR = f"include if exists <{Path(contents.APPARMOR).relative_to('/etc/apparmor.d')}>"
"""The line in the local part of AppArmor's profile for tor."""

_COMPRESSION = ("-Zxz", "-z3", "--threads-max=1")
"""A tenth larger than with dpkg's default and made in a third of the time; several threads would give other bytes."""


def build(output: Path, epoch: int, *, revision: int = 1) -> Path:
    """Build the package in the directory ``output``, everything in it of the time ``epoch``; gives its path.

    ``revision`` counts packages of one version of the program. Nothing of it needs root.
    """
    version = f"{__version__}-{revision}"
    architecture = _output_of("dpkg", "--print-architecture")
    package = output / f"onion-rdv_{version}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as directory:
        tree = Tree(Path(directory) / "tree")
        contents.fill(tree, version, epoch)
        size = tree.size()
        digests = tree.md5sums()
        tree.write("/DEBIAN/control", _control(version=version, architecture=architecture, size=size))
        tree.write("/DEBIAN/md5sums", digests)
        tree.write("/DEBIAN/conffiles", f"{contents.APPARMOR}\n{contents.SETTINGS}\n")
        for name in _SCRIPTS:
            tree.write(f"/DEBIAN/{name}", script(name), mode=PROGRAM)
        tree.normalise(epoch)
        _dpkg_deb(tree.root, package, epoch)
    return package


def _control(**values: object) -> str:
    return (_SOURCES / "control").read_text().format(maintainer=contents.MAINTAINER, **values)


def script(name: str) -> str:
    """Give a maintainer script (deb-postinst(5) and the like) with the names of our units in it."""
    units = contents.units()
    services = [unit for unit in units if unit.endswith(".service")]
    text = (_SOURCES / name).read_text()
    for mark, value in {"UNITS": " ".join(units), "SERVICES": " ".join(services), "APPARMOR": _APPARMOR}.items():
        text = text.replace(f"@{mark}@", value)
    return text


def _dpkg_deb(tree: Path, package: Path, epoch: int) -> None:
    command = ["dpkg-deb", "--root-owner-group", *_COMPRESSION, "--build", str(tree), str(package)]
    subprocess.run(command, env=os.environ | {VARIABLE: str(epoch)}, stdout=subprocess.DEVNULL, check=True)


def _output_of(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
