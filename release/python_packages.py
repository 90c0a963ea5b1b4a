"""The Python packages of a Debian package: the program and its locked dependencies, in one directory."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from release import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = (3, 11)
"""Debian 12's. Extension modules are made for one Python."""

_GLIBC = (2, 36)
"""Debian 12's. What pip chooses for this machine's C library runs with it and with every newer one."""

_TRACES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What pip writes about an installation, its place among it; only pip reads them."""


def install(directory: Path) -> None:
    """Install the dependencies as ``requirements.lock`` has them, with their hashes, and the program.

    Nothing is compiled to bytecode, and nothing of this machine stays in the directory. Ends the program where this
    Python or C library is not one that makes packages for Debian 12.
    """
    _check_this_machine()
    _pip("--require-hashes", "--use-pep517", "--target", directory, "-r", ROOT / "requirements.lock")
    _pip("--no-deps", "--target", directory, ROOT)
    for name in ("bin", "share"):  # other programs' commands and manuals
        shutil.rmtree(directory / name, ignore_errors=True)
    for metadata in directory.glob("*.dist-info"):
        for name in _TRACES:
            (metadata / name).unlink(missing_ok=True)


def _check_this_machine() -> None:
    library, version = platform.libc_ver()
    if sys.version_info[:2] != PYTHON:
        sys.exit(f"release: the package is for Debian 12: build it with Python {PYTHON[0]}.{PYTHON[1]}")
    if library != "glibc" or tuple(int(part) for part in version.split(".")) > _GLIBC:
        sys.exit(f"release: the package is for Debian 12: build it there (glibc {_GLIBC[0]}.{_GLIBC[1]}, or older)")


def _pip(*arguments: str | Path) -> None:
    """Install without fetching anything that builds packages: the build lock's packages are here already."""
    options = ("-qq", "--disable-pip-version-check", "--no-build-isolation", "--no-compile", "--upgrade")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *arguments], check=True)
