"""Nothing is installed but what is locked: one version, known by hashes, for a reason, under a known licence."""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tomllib
from importlib.metadata import Distribution, distribution, distributions
from typing import TYPE_CHECKING

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release import ROOT
from release.licences import licences
from release.locks import LOCKS, RUN, Locked, read

if TYPE_CHECKING:
    from pathlib import Path

BUILD, DEV = ROOT / "requirements-build.lock", ROOT / "requirements-dev.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

ASKED = {
    RUN: PROJECT["project"]["dependencies"],
    BUILD: [*PROJECT["dependency-groups"]["build"], *PROJECT["build-system"]["requires"]],
    DEV: PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"],
    **{
        ROOT / "bench" / f"{name}.lock": [
            line for line in (ROOT / "bench" / f"{name}.in").read_text().splitlines() if not line.startswith("#")
        ]
        for name in ("requirements", "requirements-build")
    },
}
"""What was asked for, for each lock."""

COMPATIBLE = {"Apache-2.0", "BSD-3-Clause", "LGPL-3.0-only", "MIT", "MIT-0", "PSF-2.0"}
"""Licences of others' packages under which a package of this program may bring them."""

OLD_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",  # of those that are locked, each text has three clauses
    "LGPLv3": "LGPL-3.0-only",
    "MIT License": "MIT",
}
"""What packages call their licences that have not learned SPDX's names."""


def packages(lock: Path) -> dict[str, list[Locked]]:
    found: dict[str, list[Locked]] = {}
    for package in read(lock):
        found.setdefault(package.name, []).append(package)
    return found


def test_every_lock_file_is_known() -> None:
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "*.lock", "*requirements*.txt"], stdout=subprocess.PIPE, text=True, check=True
    )
    assert {ROOT / name for name in listed.stdout.split()} == set(LOCKS) == set(ASKED)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_package_is_one_version_with_hashes_and_a_reason(lock: Path) -> None:
    names = packages(lock)
    assert names
    for versions in names.values():
        markers = {package.marker for package in versions}
        assert len(markers) == len(versions), f"two versions of {versions[0].name} in one place"
        for package in versions:
            assert package.digests, f"{package.name} has no hash"
            assert package.via, f"nobody asks for {package.name}"
            for reason in package.via:
                assert reason in names or re.fullmatch(r"onion-rdv \(pyproject\.toml(:\w+)?\)|-r \S+", reason), reason
    assert "://" not in lock.read_text(), "the lock names no place: whoever installs says where from"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_what_was_asked_for_admits_what_is_locked(lock: Path) -> None:
    names = packages(lock)
    for asked in map(Requirement, ASKED[lock]):
        locked = names[canonicalize_name(asked.name)]
        assert all(asked.specifier.contains(package.version) for package in locked), asked


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://index.example/simple",
        "-e .",
        "aiohttp>=3",
        "aiohttp==3.*",
        "aiohttp @ https://index.example/aiohttp.whl",
        "git+https://forge.example/aiohttp",
        "./aiohttp.whl",
        "aiohttp==3.0 --hash=md5:00",
        "aiohttp==3.0 \\\n    --hash=md5:00000000000000000000000000000000",
        "aiohttp==3.0 \\\n    --hash=sha256:00",
        "aiohttp==3.0 \\\n    --global-option=x",
    ],
)
def test_a_lock_with_anything_else_in_it_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"# a comment\n{line}\n")
    with pytest.raises(ValueError, match=r"requirements\.lock: "):
        read(lock)


def test_what_is_tested_is_what_is_released() -> None:
    tested = {(package.name, package.version, package.digests) for package in read(DEV)}
    assert {(package.name, package.version, package.digests) for package in read(RUN)} <= tested


def test_what_is_installed_here_is_what_is_locked() -> None:
    locked = packages(DEV) | packages(BUILD)
    for name, versions in locked.items():
        for package in versions:
            if not package.marker or Marker(package.marker).evaluate():
                assert distribution(name).version == package.version
    installed = {canonicalize_name(package.name) for package in distributions(path=[sysconfig.get_path("purelib")])}
    assert installed - set(locked) <= {"onion-rdv", "pip"}, "installed, but not locked"


def test_every_licence_is_known_and_fits() -> None:
    assert set(licences()) == set(packages(RUN)), "release/licences.toml lists what requirements.lock locks"
    for name, expression in licences().items():
        assert set(re.split(r" AND | OR ", expression)) <= COMPATIBLE, f"{name}: {expression}"


def test_licences_are_what_the_packages_say() -> None:
    for name, versions in packages(RUN).items():
        for package in versions:
            if not package.marker or Marker(package.marker).evaluate():
                said = _said(distribution(name))
                assert OLD_NAMES.get(said, said) == licences()[name], name


def _said(package: Distribution) -> str:
    for field in ("License-Expression", "License"):
        for value in package.metadata.get_all(field) or []:
            return str(value)
    for classifier in package.metadata.get_all("Classifier") or []:
        if classifier.startswith("License :: "):
            return str(classifier).rpartition(" :: ")[2]
    raise AssertionError(f"{package.name} does not name its licence")
