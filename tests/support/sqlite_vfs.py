"""What SQLite asks of the file system, seen and changed by a test: its own layer for files, with a guard before it.

SQLite works on files through a table of functions, its VFS (https://sqlite.org/vfs.html). While a guard
:func:`is there <guarded>`, it is told of each write, cut, sync and removal of the files that
it minds, and SQLite's own functions do it then, unless the guard refuses. Nothing is really synced: that takes long,
and what it is good for only a guard can show.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

# Results, https://sqlite.org/rescode.html
OK = 0
FULL = 13
IOERR_WRITE = 10 | 3 << 8
IOERR_FSYNC = 10 | 4 << 8
IOERR_TRUNCATE = 10 | 6 << 8
IOERR_DELETE = 10 | 10 << 8


class Guard(Protocol):
    """Is told what SQLite is about to do to a file; gives a result other than OK to have it fail instead."""

    def minds(self, path: Path) -> bool:
        """Tell whether a file is any of its business."""

    def open(self, path: Path) -> None: ...

    def write(self, path: Path, offset: int, data: bytes) -> int: ...

    def truncate(self, path: Path, size: int) -> int: ...

    def sync(self, path: Path) -> int: ...

    def remove(self, path: Path) -> int: ...


# Names are plain addresses: SQLite keeps them, and reads what stands behind their end.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    """``sqlite3_vfs``, version 3."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("rest", c_void_p * 14),
    )


class _Methods(Structure):
    """``sqlite3_io_methods``, version 3."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", _WRITE),
        ("truncate", _TRUNCATE),
        ("sync", _SYNC),
        ("rest", c_void_p * 13),
    )


class _File(Structure):
    """``sqlite3_file``: where its functions are; what follows is the VFS's own."""

    _fields_ = (("methods", POINTER(_Methods)),)


class _GuardedVfs:
    """SQLite's default VFS with a guard before it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._paths: dict[int, Path] = {}  # of the files that are open, by where SQLite has them in memory
        self._methods: dict[int, _Methods] = {}  # by where those are that they stand for
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._own: _Vfs = self._library.sqlite3_vfs_find(None).contents
        assert self._own.version == 3
        self._vfs = _Vfs.from_buffer_copy(self._own)
        self._vfs.name = b"guarded"
        self._vfs.open = _OPEN(self._open)
        self._vfs.delete = _DELETE(self._delete)

    def install(self) -> None:
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == OK

    def remove(self) -> None:
        assert self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs)) == OK
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._own), 1) == OK

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        path = None if name is None else _path(name)
        if path is not None and not self._guard.minds(path):
            path = None
        if path is not None:
            self._guard.open(path)
        result: int = self._own.open(vfs, name, file, flags, out)
        if result == OK and path is not None:
            self._paths[file] = path
            opened = _File.from_address(file)
            own = ctypes.addressof(opened.methods.contents)
            if own not in self._methods:
                self._methods[own] = self._guarded(opened.methods.contents)
            opened.methods = ctypes.pointer(self._methods[own])
        return result

    def _delete(self, vfs: int, name: int, sync: int) -> int:
        path = _path(name)
        refused = self._guard.remove(path) if self._guard.minds(path) else OK
        return refused or self._own.delete(vfs, name, sync)

    def _guarded(self, own: _Methods) -> _Methods:
        """Make a table of functions that asks before it goes on to SQLite's own."""
        write, truncate = own.write, own.truncate

        def guarded_write(file: int, data: int, size: int, offset: int) -> int:
            asked = self._guard.write(self._paths[file], offset, ctypes.string_at(data, size))
            return asked or write(file, data, size, offset)

        def guarded_truncate(file: int, size: int) -> int:
            return self._guard.truncate(self._paths[file], size) or truncate(file, size)

        def guarded_sync(file: int, flags: int) -> int:
            return self._guard.sync(self._paths[file])

        guarded = _Methods.from_buffer_copy(own)
        guarded.write = _WRITE(guarded_write)
        guarded.truncate = _TRUNCATE(guarded_truncate)
        guarded.sync = _SYNC(guarded_sync)
        return guarded


def _path(name: int) -> Path:
    return Path(ctypes.string_at(name).decode())


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Have a guard before all that SQLite opens in this process from now on, until the block ends.

    Whatever was opened meanwhile has to be closed by then.
    """
    vfs = _GuardedVfs(guard)
    vfs.install()
    try:
        yield
    finally:
        vfs.remove()
