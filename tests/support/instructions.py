"""Counting the instructions that a process executes: a measure of work that is the same on a busy machine.

valgrind runs the process. The same program with the same input executes the same number of instructions, to a
thousandth or so; another processor, compiler or Python has other numbers, so tests compare two that were counted on
one machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from command_line import environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

_PATIENCE = 240  # seconds; valgrind takes a twentieth of them where nothing else runs
_COUNTED = re.compile(r"I +refs: +([0-9,]+)")
_DUMPED = re.compile(r"^totals: ([0-9]+)$", re.MULTILINE)


_EACH_BYTE_COUNTS = "glibc.cpu.hwcaps=Prefer_ERMS"
"""What glibc is told: to copy with ``rep movsb``, which every x86 has and of which valgrind counts each byte.

Left to itself, it takes what is fastest on the processor; one without a fast ``rep movsb`` then needs a sixteenth or
a thirty-second of the instructions for a copy.
"""


def _counting(home: Path) -> dict[str, str]:
    """Give an environment in which a process does the same each time, and nothing that only a test wants."""
    kept = {name: value for name, value in environment(home).items() if not name.startswith("COVERAGE")}
    return kept | {"PYTHONHASHSEED": "0", "GLIBC_TUNABLES": _EACH_BYTE_COUNTS}


def of_python(home: Path, *arguments: str | Path, code: int = 0, **more: str) -> int:
    """Count the instructions of a whole Python process, which has to end with exit code ``code``.

    ``home`` is its home directory; ``more`` goes into its environment. It runs twice, and is counted when what it
    imports is compiled.
    """
    env = _counting(home) | more
    command = [sys.executable, *arguments]
    warm = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert warm.returncode == code, warm.stderr
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *command]
    done = subprocess.run(
        valgrind, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True, timeout=_PATIENCE
    )
    counted = _COUNTED.search(done.stderr)
    assert done.returncode == code, done.stderr
    assert counted is not None, done.stderr
    return int(counted[1].replace(",", ""))


class Counted:
    """A Python process that has started when it prints a line, and is counted while it does something."""

    def __init__(self, directory: Path, *arguments: str | Path, **more: str) -> None:
        """Prepare to run it with ``directory`` as its home, where the counts are left, too.

        ``more`` goes into its environment.
        """
        self._directory = directory
        self._arguments = arguments
        self._more = more
        self._counts = 0
        self._pipes = f"--vgdb-prefix={directory / 'vgdb'}"

    def __enter__(self) -> Self:
        options = ["--instr-atstart=no", f"--callgrind-out-file={self._directory / 'counts'}", self._pipes]
        with (self._directory / "said").open("wb") as said:
            self._process = subprocess.Popen(
                ["valgrind", "--tool=callgrind", *options, sys.executable, *self._arguments],
                env=_counting(self._directory) | self._more,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        self._hear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, line: str) -> None:
        """Write a line to its standard input, and wait for the line with which it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._hear()

    def count(self, work: Callable[[], object]) -> int:
        """Count the instructions of all its threads while ``work``, in this process, keeps it busy."""
        self._callgrind("instrumentation", "on")
        work()
        self._callgrind("instrumentation", "off")
        self._callgrind("dump")
        self._counts += 1
        dumped = _DUMPED.search((self._directory / f"counts.{self._counts}").read_text())
        assert dumped is not None
        return int(dumped[1])

    def _callgrind(self, *command: str) -> None:
        subprocess.run(
            ["vgdb", self._pipes, f"--pid={self._process.pid}", *command],
            check=True,
            capture_output=True,
            timeout=_PATIENCE,
        )

    def _hear(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), (self._directory / "said").read_text()
