"""What the Debian package brings, file by file."""

from __future__ import annotations

import subprocess
import sys
from email.utils import formatdate
from typing import TYPE_CHECKING

from release import ROOT, bill, manual, python_packages
from release.copyright import copyright_file
from release.tree import PROGRAM

if TYPE_CHECKING:
    from release.tree import Tree

MAINTAINER = "The onion-rdv maintainers <onion-rdv@localhost>"

SETTINGS = "/etc/onion-rdv/server.toml"
APPARMOR = "/etc/apparmor.d/abstractions/onion-rdv"

_PACKAGES = "/usr/lib/onion-rdv"  # the launcher and the maintainer scripts name it too
_UNITS = "/lib/systemd/system"  # Debian 12's
_DOC = "/usr/share/doc/onion-rdv"

_COMPLETION = {
    "bash": "/usr/share/bash-completion/completions/onion-rdv",
    "zsh": "/usr/share/zsh/vendor-completions/_onion-rdv",
    "fish": "/usr/share/fish/vendor_completions.d/onion-rdv.fish",
}


def units() -> list[str]:
    """Name the systemd units that the package brings, sockets before services."""
    found = [path.name for path in (ROOT / "systemd").iterdir() if path.suffix in {".socket", ".service"}]
    return sorted(found, key=lambda name: (name.endswith(".service"), name))


def fill(tree: Tree, version: str, epoch: int) -> None:
    """Put everything into the tree of a package of this version."""
    _program(tree)
    _servers(tree)
    _documentation(tree, version, epoch)


def _program(tree: Tree) -> None:
    python_packages.install(tree.at(_PACKAGES))
    tree.copy(ROOT / "release" / "debian" / "launcher", "/usr/bin/onion-rdv", mode=PROGRAM)
    for shell, path in _COMPLETION.items():
        command = [sys.executable, "-m", "onion_rdv", "completion", shell]
        tree.write(path, subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _servers(tree: Tree) -> None:
    for unit in units():
        tree.copy(ROOT / "systemd" / unit, f"{_UNITS}/{unit}")
    for directory in ("sysusers.d", "tmpfiles.d"):
        tree.copy(ROOT / "systemd" / directory, f"/usr/lib/{directory}")
    tree.copy(ROOT / "etc" / "server.toml", SETTINGS, mode=0o640)
    tree.copy(ROOT / "etc" / APPARMOR.removeprefix("/etc/"), APPARMOR)


def _documentation(tree: Tree, version: str, epoch: int) -> None:
    for name, text in manual.pages(epoch).items():
        tree.write(f"/usr/share/man/man{name[-1]}/{name}.gz", text)
    for name in ("docs", "scale-out"):
        tree.copy(ROOT / name, f"{_DOC}/{name}")
    for name in ("README.md", "SECURITY.md", "torrc.example"):
        tree.copy(ROOT / name, f"{_DOC}/{name}")
    tree.write(f"{_DOC}/changelog.gz", (ROOT / "CHANGELOG.md").read_text())
    tree.write(f"{_DOC}/changelog.Debian.gz", _debian_changelog(version, epoch))
    tree.write(f"{_DOC}/onion-rdv.cdx.json", bill.text(epoch))
    tree.write(f"{_DOC}/copyright", copyright_file(tree.at(_PACKAGES), _PACKAGES))


def _debian_changelog(version: str, epoch: int) -> str:
    """Write the one entry that dpkg-parsechangelog(1) wants: what changed is in the project's own changelog."""
    return (
        f"onion-rdv ({version}) bookworm; urgency=medium\n\n"
        "  * See changelog.gz.\n\n"
        f" -- {MAINTAINER}  {formatdate(epoch)}\n"
    )
