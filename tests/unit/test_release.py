"""What is released: the same bytes from the same commit, and nothing of the machine in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from release import ROOT, bill, deb
from release.elsewhere import copy_checkout, release
from release.epoch import source_date_epoch
from release.tree import PROGRAM, Tree

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_700_000_000


def test_wheel_and_sdist_are_the_same_wherever_they_are_built(tmp_path: Path) -> None:
    builds = [
        release(copy_checkout(tmp_path / name), "dist", tmp_path / f"{name}-made", epoch=EPOCH, umask=umask)
        for name, umask in (("here", 0o022), ("elsewhere", 0o077))
    ]
    for here, elsewhere in zip(*builds, strict=True):
        assert here.name == elsewhere.name
        assert here.read_bytes() == elsewhere.read_bytes()
    sdist, wheel, _ = builds[0]
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert {"onion_rdv/py.typed", "onion_rdv/rendezvous/sqlite_schema.sql"} <= set(archive.namelist())
    assert all(top.startswith("onion_rdv") for top in tops)
    with tarfile.open(sdist) as packed:
        assert all(member.mtime == EPOCH for member in packed)
        assert {"Makefile", "tests", "systemd"} <= {name.split("/")[1] for name in packed.getnames()}


def test_a_tree_tells_nothing_of_who_made_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("text")
    source.chmod(0o600)
    tree = Tree(tmp_path / "tree")
    tree.copy(source, "/usr/share/text")
    tree.copy(source, "/usr/bin/program", mode=PROGRAM)
    tree.write("/usr/share/doc/text.gz", "text")
    tree.normalise(EPOCH)
    assert [path.relative_to(tree.root).as_posix() for path in tree.files()] == [
        "usr/bin/program",
        "usr/share/doc/text.gz",
        "usr/share/text",
    ]
    for path in [tree.root, *tree.root.rglob("*")]:
        assert path.stat().st_mtime == EPOCH
        assert path.stat().st_mode & 0o777 == (0o644 if path.is_file() and path.name != "program" else 0o755)
    assert tree.md5sums().splitlines()[0] == "1cb251ec0d568de6a929b520c4aed8d1  usr/bin/program"
    assert tree.size() == 3 + 4  # three files of less than 1 KiB, four directories


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_maintainer_scripts_are_whole(name: str) -> None:
    script = deb.script(name)
    assert script.startswith("#!/bin/sh\nset -e\n")
    assert "@" not in script, "every mark has been replaced"
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    for line in re.findall(r"for unit in (.*); do", script):
        assert line.split() == [
            "onion-rdv-messaging.socket",
            "onion-rdv.socket",
            "onion-rdv-messaging.service",
            "onion-rdv.service",
        ]


def test_a_purge_takes_the_keys_that_systemd_keeps_for_the_units() -> None:
    units = "\n".join(unit.read_text() for unit in (ROOT / "systemd").glob("*.service"))
    kept = re.findall(r"^LoadCredentialEncrypted=.*:(.*)$", units, re.MULTILINE)
    assert len(kept) == 2
    purging = deb.script("postrm").partition("purge ]; then\n")[2].partition("\nfi\n")[0]
    for name in kept:
        assert f"rm -f /etc/credstore.encrypted/{name}\n" in purging


def test_what_is_released_is_built_twice(tmp_path: Path) -> None:
    checkout = commit(copy_checkout(tmp_path / "checkout"))
    assert release_twice(checkout).returncode == 0
    made = checkout / "dist"
    checked = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=made, stdout=subprocess.PIPE, text=True, check=True
    )
    assert {line.removesuffix(": OK") for line in checked.stdout.splitlines()} == {
        path.name for path in made.iterdir() if path.name != "SHA256SUMS"
    }
    with (checkout / "release" / "bill.py").open("a") as module:
        module.write("_PROGRAM += uuid.uuid4().hex\n")
    assert "no commit has this: release/bill.py\n" in release_twice(checkout).stderr
    commit(checkout)
    ended = release_twice(checkout)
    assert ended.returncode == 1
    assert f"not the same bytes: {bill.file_name()}\n" in ended.stderr


def commit(checkout: Path) -> Path:
    name = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "-q"], ["add", "--all"], [*name, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", checkout, *arguments], check=True)
    return checkout


def release_twice(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "release", "dist", "--again"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_the_time_is_the_commits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "17")
    assert source_date_epoch() == 17
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert 1_700_000_000 < source_date_epoch() < 2**32
    monkeypatch.setattr("release.epoch.ROOT", tmp_path)
    with pytest.raises(SystemExit, match="set SOURCE_DATE_EPOCH"):
        source_date_epoch()
