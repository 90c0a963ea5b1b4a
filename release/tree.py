"""A tree of files as a package brings it: nothing in it tells who built it, where, when, or under which umask."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = 0o755
"""The mode of a file that can be run."""

_FILE, _DIRECTORY = 0o644, 0o755


class Tree:
    """Files below ``root``, which stands for ``/``; paths in it are written as they will be on the machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modes: dict[Path, int] = {}

    def at(self, path: str) -> Path:
        """Give the place in the tree for a path on the machine; the directory above it is made."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def copy(self, source: Path, path: str, *, mode: int = _FILE) -> None:
        """Bring a file, or a directory with all that is in it; ``mode`` is that of a file."""
        place = self.at(path)
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, place)
            self._modes[place] = mode

    def write(self, path: str, text: str, *, mode: int = _FILE) -> None:
        """Bring a file of this content, compressed where its name says so."""
        content = text.encode()
        place = self.at(path)
        place.write_bytes(gzip.compress(content, mtime=0) if path.endswith(".gz") else content)
        self._modes[place] = mode

    def files(self) -> list[Path]:
        """All files, in an order that no directory's own order changes."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def normalise(self, epoch: int) -> None:
        """Give every file its mode (that of a plain file where none was named), and everything the same time."""
        for path in [self.root, *self.root.rglob("*")]:
            path.chmod(_DIRECTORY if path.is_dir() else self._modes.get(path, _FILE))
            os.utime(path, (epoch, epoch))

    def size(self) -> int:
        """Tell what it takes installed, in KiB, as Debian Policy 5.6.20 counts."""
        paths = list(self.root.rglob("*"))
        return sum(-(-path.stat().st_size // 1024) if path.is_file() else 1 for path in paths)

    def md5sums(self) -> str:
        """Say what dpkg --verify goes by: see deb-md5sums(5)."""
        digests = ((hashlib.md5(path.read_bytes(), usedforsecurity=False), path) for path in self.files())
        return "".join(f"{digest.hexdigest()}  {path.relative_to(self.root)}\n" for digest, path in digests)
