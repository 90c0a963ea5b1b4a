"""What tests on a system of its own share: the package, and one machine for the whole run. A plugin of pytest."""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from container import Container
from debian import bare, copy
from machine import Machine

from release import ROOT
from release.elsewhere import copy_checkout, release
from release.epoch import source_date_epoch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

CACHE = ROOT / "build" / "deploy"


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Future[Path], Future[Path]]]:
    """Build the package here, and then once more in a copy of the checkout, while other things go on."""
    directory = tmp_path_factory.mktemp("builds")
    epoch = source_date_epoch()

    def build() -> Path:
        package, _ = release(ROOT, "deb", directory / "made", epoch=epoch)
        return package

    def build_elsewhere() -> Path:
        checkout = copy_checkout(directory / "elsewhere")
        package, _ = release(checkout, "deb", directory / "again", epoch=epoch, umask=0o077, zone="UTC-12")
        return package

    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(build), pool.submit(build_elsewhere)


@pytest.fixture(scope="session")
def newer_package(builds: tuple[Future[Path], Future[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a package of a newer version that brings the same."""
    directory = tmp_path_factory.mktemp("newer")
    tree, package = directory / "tree", directory / "onion-rdv-newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", builds[0].result(), tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.MULTILINE))
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return package


@pytest.fixture(scope="session")
def machine(
    builds: tuple[Future[Path], Future[Path]], network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Boot a bare Debian 12 on this machine's network; what takes time before is begun before."""
    tree = tmp_path_factory.mktemp("machine") / "rdv"
    copy(bare(CACHE), tree)
    try:
        with Container(tree, archives=CACHE / "archives") as container:
            machine = Machine(container)
            machine.apt("update")
            machine.keep_tor_waiting()
            yield machine
    finally:
        shutil.rmtree(tree)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the machine's units have said where a test fails."""
    report = yield
    machine = item.funcargs.get("machine")
    if report.failed and isinstance(machine, Machine):
        report.sections.append(("journal", machine.journal("onion-rdv*")))
    return report
