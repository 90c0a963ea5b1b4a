"""A disk whose power can be cut, and that can fail: what SQLite's files would be like after it.

A :class:`Disk` is the guard (``sqlite_vfs.py``) of the files in one directory. It knows what is safe on the disk, and
what has been written since the last sync and is not: when the power is cut, each of those writes has arrived, or has
not, or has in part, whatever their order was.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlite_vfs import FULL, IOERR_DELETE, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_WRITE, OK

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_SECTOR = 512
"""Bytes that reach a disk together."""


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes

    def apply(self, content: bytes | None) -> bytes:
        before = (content or b"")[: self.offset].ljust(self.offset, b"\0")
        return before + self.data + (content or b"")[self.offset + len(self.data) :]


@dataclass(frozen=True, slots=True)
class _Cut:
    """The file has this size from now on, or is gone."""

    size: int | None

    def apply(self, content: bytes | None) -> bytes | None:
        return None if self.size is None else (content or b"")[: self.size].ljust(self.size, b"\0")


@dataclass(slots=True)
class _File:
    safe: bytes | None
    """What is on the disk whatever happens; None while there is no such file."""

    unsafe: list[_Write | _Cut] = field(default_factory=list)
    """What was done since, in its order."""

    def sync(self) -> None:
        for change in self.unsafe:
            self.safe = change.apply(self.safe)
        self.unsafe = []

    def after_a_cut(self, randomness: Random) -> bytes | None:
        """Give what may be found when the power comes back.

        Writes come in any order. What cuts a file keeps its place among them: file systems see to that.
        """
        cuts = [number for number, change in enumerate(self.unsafe) if isinstance(change, _Cut)]
        end = randomness.choice([*cuts, len(self.unsafe)])
        return self._in_part(self.unsafe[:end], randomness)

    def stay_removed(self) -> None:
        """Let a removal be safe, if it was removed."""
        for number in reversed(range(len(self.unsafe))):
            if self.unsafe[number] == _Cut(None):
                self.safe = None
                del self.unsafe[: number + 1]
                return

    def fail_to_sync(self, randomness: Random) -> None:
        """Lose what was to be made safe, or some of it, though it can be read until the power is cut."""
        self.safe = self._in_part(self.unsafe, randomness)
        self.unsafe = []

    def _in_part(self, changes: list[_Write | _Cut], randomness: Random) -> bytes | None:
        content = self.safe
        for change in changes:
            luck = randomness.random()
            if isinstance(change, _Cut) or luck < 0.4:
                content = change.apply(content)
            elif luck < 0.7:
                sectors = randomness.randrange(len(change.data) // _SECTOR + 1)
                content = _Write(change.offset, change.data[: sectors * _SECTOR]).apply(content)
        return content


@dataclass(slots=True)
class _Trouble:
    """What is to go wrong: after so many more operations, for so many of them."""

    after: int
    times: int
    is_cut: bool
    randomness: Random


class Disk:
    """Minds the files of one directory at a time: the one that was named last to :meth:`use`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._directory: Path | None = None
        self._files: dict[Path, _File] = {}
        self._names_unsafe: set[Path] = set()
        self._trouble: _Trouble | None = None
        self._image: dict[str, bytes] | None = None
        self._refused = 0
        self.operations = 0

    def use(self, directory: Path) -> None:
        """Mind the files here from now on; what is in them is safe. All is well again."""
        with self._lock:
            self._directory = directory
            self._files = {}
            self._names_unsafe = set()
            self._trouble = self._image = None

    def cut_after(self, operations: int, randomness: Random) -> None:
        """Cut the power before one of the next operations; nothing reaches the disk after that."""
        with self._lock:
            self._trouble = _Trouble(operations, 1, is_cut=True, randomness=randomness)

    def fail_after(self, operations: int, times: int, randomness: Random) -> None:
        """Refuse some operations one after another, as a disk that is full, or that fails for a moment."""
        with self._lock:
            self._refused = 0
            self._trouble = _Trouble(operations, times, is_cut=False, randomness=randomness)

    def be_well(self) -> None:
        """Call off what has not gone wrong yet."""
        with self._lock:
            self._trouble = None

    @property
    def is_off(self) -> bool:
        """Whether the power is cut."""
        return self._image is not None

    @property
    def has_failed(self) -> bool:
        """Whether any operation was refused since :meth:`fail_after`."""
        return self._refused > 0

    def come_back(self, directory: Path, randomness: Random) -> None:
        """Cut the power now, unless it is; put what is found afterwards into a new directory, and use that."""
        with self._lock:
            if self._image is None:
                self._cut(randomness)
            image = self._image or {}
        directory.mkdir()
        for name, content in image.items():
            (directory / name).write_bytes(content)
        self.use(directory)

    def _cut(self, randomness: Random) -> None:
        found = {path.name: file.after_a_cut(randomness) for path, file in self._files.items()}
        self._image = {name: content for name, content in found.items() if content is not None}

    # What SQLite does

    def minds(self, path: Path) -> bool:
        """Tell whether a file is on this disk."""
        return path.parent == self._directory

    def open(self, path: Path) -> None:
        """Begin with what a file holds, if it is there yet."""
        with self._lock:
            if path not in self._files:
                self._files[path] = _File(path.read_bytes() if path.exists() else None)
            self._names_unsafe.add(path)

    def write(self, path: Path, offset: int, data: bytes) -> int:
        """See a write."""
        return self._change(path, _Write(offset, data), IOERR_WRITE)

    def truncate(self, path: Path, size: int) -> int:
        """See a file get another size."""
        return self._change(path, _Cut(size), IOERR_TRUNCATE)

    def remove(self, path: Path) -> int:
        """See a file go."""
        return self._change(path, _Cut(None), IOERR_DELETE)

    def sync(self, path: Path) -> int:
        """See a file be made safe, or not."""
        with self._lock:
            trouble = self._trouble
            refused = self._refuse(path, IOERR_FSYNC)
            if refused == OK:
                self._files[path].sync()
                self._sync_names(path)
            elif trouble is not None and not self.is_off:
                self._files[path].fail_to_sync(trouble.randomness)
            return refused

    def _sync_names(self, path: Path) -> None:
        """Make safe which files there are: SQLite does it with the first sync of each file that it has opened."""
        if path in self._names_unsafe:
            self._names_unsafe.remove(path)
            for file in self._files.values():
                file.stay_removed()

    def _change(self, path: Path, change: _Write | _Cut, result: int) -> int:
        with self._lock:
            refused = self._refuse(path, result)
            if refused == OK and path in self._files:
                self._files[path].unsafe.append(change)
            return refused

    def _refuse(self, path: Path, result: int) -> int:
        """Let an operation be, or give the result that it fails with."""
        if self.is_off or path.parent != self._directory:
            return result  # the machine is off, or was when it came back elsewhere
        self.operations += 1
        trouble = self._trouble
        if trouble is None:
            return OK
        if trouble.after > 0:
            trouble.after -= 1
            return OK
        if trouble.is_cut:
            self._cut(trouble.randomness)
            return result
        self._refused += 1
        trouble.times -= 1
        if trouble.times <= 0:
            self._trouble = None
        return FULL if result == IOERR_WRITE and trouble.randomness.random() < 0.5 else result
