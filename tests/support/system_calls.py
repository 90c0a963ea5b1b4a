"""All that a program hands to the kernel: files it makes, bytes it writes or sends, programs it starts.

strace records it with every byte, so that a secret is found that was in a file for a millisecond, too.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 30
_CALLS = (
    "execve,execveat,open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,memfd_create,bind,"
    "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,setxattr,prctl,prlimit64,setrlimit,umask"
)
_SET_UP = 'umask 0; ulimit -S -c "$(ulimit -H -c)"; exec "$@"'
"""The worst that whoever starts a program can do to it: new files open to everybody, and cores of any size."""

_BYTES = re.compile(r"(?:\\x[0-9a-f]{2})+")
_LINE = re.compile(r"(\d+)\s+(\w+)\((.*)")
_PATH = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')
_FILE = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})+|[^>]*)>")
_MODE = re.compile(r", 0(\d*)\)?(?: +=| <unfinished)")
_OPENS = {"open", "openat", "openat2", "creat", "mkdir", "mkdirat", "mknod", "mknodat"}


@dataclass(frozen=True)
class Call:
    """One system call, as strace writes its arguments."""

    name: str
    text: str

    @cached_property
    def given(self) -> bytes:
        """All bytes among its arguments."""
        return b"\0".join(map(_decoded, _BYTES.findall(self.text)))

    @property
    def made(self) -> tuple[str, int] | None:
        """The file or directory that it makes where there is none, with the mode that it asks for; else None."""
        if self.name not in _OPENS or ("O_CREAT" not in self.text and "open" in self.name):
            return None
        path, mode = _PATH.search(self.text), _MODE.search(self.text)
        assert path is not None, self.text
        assert mode is not None, self.text
        return _decoded(path[1]).decode(), int(mode[1] or "0", 8)

    @property
    def target(self) -> str:
        """Where bytes go: stdin, stdout or stderr, a file's path, or a socket; for other calls their name."""
        file = _FILE.match(self.text)
        if file is None:
            return self.name
        standard = {"0": "stdin", "1": "stdout", "2": "stderr"}
        return standard.get(file[1]) or _BYTES.sub(lambda found: _decoded(found[0]).decode(), file[2])


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def files_made(calls: list[Call]) -> Iterator[tuple[str, int]]:
    """Give what was made where there was nothing, and the mode that it had at first."""
    umask = 0
    for call in calls:
        if call.name == "umask":
            umask = int(call.text.partition(")")[0], 8)
        if call.made is not None:
            path, mode = call.made
            yield path, mode & ~umask


@dataclass(frozen=True)
class Recorder:
    """Runs a program in the worst circumstances, and records what it calls."""

    record: Path

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What has to run the program; the process keeps its id."""
        strace = shutil.which("strace")
        assert strace, "strace is not installed: make test installs it"
        options = ("-D", "-f", "-q", "-y", "-v", "-xx", "-s", "1000000", "-e", f"trace={_CALLS}")
        return (strace, *options, "-o", str(self.record), "sh", "-c", _SET_UP, "sh")

    async def wait_for(self, data: bytes) -> None:
        """Wait until the program has handed over these bytes in one call."""
        wanted = "".join(f"\\x{byte:02x}" for byte in data)
        async with asyncio.timeout(_PATIENCE):
            while not self.record.exists() or wanted not in self.record.read_text():
                await asyncio.sleep(0.05)

    async def calls(self) -> list[Call]:
        """Give all calls of a program that has ended, its children's too."""
        async with asyncio.timeout(_PATIENCE):  # strace, its grandchild, may need a moment longer than itself
            while not self._is_whole():
                await asyncio.sleep(0.02)
        return list(self._read())

    def _is_whole(self) -> bool:
        lines = self.record.read_text().splitlines()
        return any(line.split()[:2] == [lines[0].split()[0], "+++"] for line in lines[-50:])

    def _read(self) -> Iterator[Call]:
        for line in self.record.read_text().splitlines():
            found = _LINE.match(line)
            if found:
                assert '"...' not in line, "strace has cut something short"
                yield Call(found[2], found[3])
