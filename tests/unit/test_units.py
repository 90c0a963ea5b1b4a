"""The units and the AppArmor lines as they ship: systemd and AppArmor take them, and they leave little open."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MOST_EXPOSURE = 1.0


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def verified(directory: Path) -> str:
    """Have systemd look at all units in a directory; gives what it says."""
    for unit in UNITS.glob("onion-rdv*"):
        # The program is not installed where tests run; any other will do.
        text = unit.read_text().replace("/usr/bin/onion-rdv", sys.executable)
        (directory / unit.name).write_text(text)
    return run("systemd-analyze", "verify", "--man=no", *sorted(directory.iterdir())).stderr


def test_there_are_two_servers_each_with_a_socket() -> None:
    assert SERVICES == ["onion-rdv-messaging.service", "onion-rdv.service"]
    assert sorted(path.stem for path in UNITS.glob("*.socket")) == ["onion-rdv", "onion-rdv-messaging"]


def test_systemd_takes_them_all(tmp_path: Path) -> None:
    assert verified(tmp_path) == ""


def test_a_mistake_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "onion-rdv-mistake.service").write_text("[Service]\nType=notify\nExecStart=relative\nNonsense=yes\n")
    assert "Nonsense" in verified(tmp_path)


@pytest.mark.parametrize("service", SERVICES)
def test_it_leaves_little_open(service: str) -> None:
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / service).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSURE, said


@pytest.mark.parametrize("service", SERVICES)
def test_the_two_differ_in_nothing_but_what_they_serve(service: str) -> None:
    other = next(one for one in SERVICES if one != service)
    ours, theirs = ((UNITS / one).read_text() for one in (service, other))

    def sandbox(unit: str) -> str:
        return re.sub(r"InaccessiblePaths=.*", "", unit[unit.index("\n# No network") : unit.index("\n[Install]")])

    assert sandbox(ours) == sandbox(theirs)


# AppArmor, where Debian's tor is confined


def tors_profile(directory: Path, addition: str) -> subprocess.CompletedProcess[str]:
    """Compile Debian's profile for tor, with a line added where operators add some, and nothing loaded."""
    shutil.copytree("/etc/apparmor.d", directory, dirs_exist_ok=True)
    shutil.copytree(ROOT / "etc" / "apparmor.d", directory, dirs_exist_ok=True)
    (directory / "local" / "system_tor").write_text(f"{addition}\n")
    base = ("apparmor_parser", "--base", directory, "--skip-kernel-load", "--skip-cache")
    done = run(*base, directory / "system_tor")
    return done if done.returncode else run(*base, "--preprocess", directory / "system_tor")


def test_apparmor_takes_the_lines_for_tor(tmp_path: Path) -> None:
    said = tors_profile(tmp_path, "include <abstractions/onion-rdv>")
    assert said.returncode == 0, said.stderr
    profile = said.stdout.split("profile system_tor")[1]
    for socket in ("web", "smp"):
        listens = f"ListenStream=/run/onion-rdv/{socket}.socket\n"
        assert any(listens in unit.read_text() for unit in UNITS.glob("*.socket"))
    assert "/{,var/}run/onion-rdv/{web,smp}.socket rw," in profile


def test_a_line_that_apparmor_does_not_take(tmp_path: Path) -> None:
    assert tors_profile(tmp_path, "/run/onion-rdv/web.socket nonsense,").returncode != 0
