"""What measurements of servers share: servers, load for them, and rounds in turn."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BENCH = Path(__file__).parent

GRACE = 10.0
"""Seconds that a process has to end when it is asked to."""

_Figure = TypeVar("_Figure")


def said_by(*command: str) -> str:
    """Give what a command prints, whether or not it is content; nothing where there is no such command."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Have a process end after the block: it is asked to, and killed where it has not done so after a while.

    Whoever ends a block of ``Popen`` waits for ever for a process that does not.
    """
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def server(*command: str | Path, ready: Callable[[], bool] | None = None) -> Iterator[int]:
    """Run a server, and give its process id; it is ready when ``ready`` says so, or when it prints a line."""
    with (
        subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.DEVNULL if ready else subprocess.PIPE,
            stderr=subprocess.DEVNULL if ready else None,
            text=True,
        ) as process,
        ended(process),
    ):
        if ready:
            _wait(ready, process)
        elif not process.stdout or not process.stdout.readline():
            raise RuntimeError(f"{command[1]} did not start")
        yield process.pid


def _wait(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("a server did not start")
        time.sleep(0.05)


def free_port() -> int:
    """Give a port on 127.0.0.1 at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: Path | int) -> bool:
    """Tell whether somebody listens on a Unix socket, or at a port on 127.0.0.1."""
    is_port = isinstance(address, int)
    with socket.socket(socket.AF_INET if is_port else socket.AF_UNIX) as probe:
        return probe.connect_ex(("127.0.0.1", address) if is_port else str(address)) == 0


class Load(NamedTuple):
    """What came of asking a server: answers a second, and what part of the time the asking process was busy."""

    rate: float
    busy: float


def load(
    kind: str, address: str | Path | int, *, seconds: float, connections: int, links: Sequence[bytes] = ()
) -> float:
    """Have a process of its own ask a server as fast as it answers; gives answers a second."""
    return loaded(kind, address, seconds=seconds, connections=connections, links=links).rate


def loaded(
    kind: str, address: str | Path | int, *, seconds: float, connections: int, links: Sequence[bytes] = ()
) -> Load:
    """Do the same, and say how busy that process was."""
    named = ["--links", *(link.hex() for link in links)]
    result = _asked("load.py", kind, address, *named, seconds=seconds, connections=connections)
    return Load(result["answered"] / result["seconds"], result["busy"])


def messaging_load(directory: Path, *, seconds: float, connections: int) -> float:
    """Have a process of its own send messages round a messaging server; gives messages a second."""
    return _rate("messaging_load.py", directory, seconds=seconds, connections=connections)


def group_commit(directory: Path, *, seconds: float, group: int) -> float:
    """Have a process of its own commit groups of entries to a file; gives entries a second."""
    return _rate("group_commit.py", directory, seconds=seconds, connections=group)


def _rate(script: str, *arguments: str | Path | int, seconds: float, connections: int) -> float:
    result = _asked(script, *arguments, seconds=seconds, connections=connections)
    return result["answered"] / result["seconds"]


def _asked(script: str, *arguments: str | Path | int, seconds: float, connections: int) -> dict[str, float]:
    command = [sys.executable, BENCH / script, *arguments, "--seconds", seconds, "--connections", connections]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def in_turn(contenders: Mapping[str, Callable[[], _Figure]], rounds: int) -> dict[str, list[_Figure]]:
    """Measure all contenders again and again, each round in another order."""
    measured: dict[str, list[_Figure]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            measured[name].append(contenders[name]())
    return measured


def ratios(ours: Sequence[float], beside: Sequence[float]) -> list[float]:
    """Give for each round how much one of the contenders needed, or did, beside another."""
    return [one / other for one, other in zip(ours, beside, strict=True)]


_TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(process: int) -> tuple[float, float]:
    """Give how long a process has kept processors busy: its main thread, and all its others together (proc(5))."""
    main = others = 0.0
    for thread in Path(f"/proc/{process}/task").iterdir():
        used = sum(_times(thread)[:2])
        if int(thread.name) == process:
            main += used
        else:
            others += used
    return main, others


def exact_seconds(process: int) -> float:
    """Give how long a process kept processors busy, to the nanosecond, also in threads that have ended.

    This reads the clock that clock_getcpuclockid(3) names.
    """
    return time.clock_gettime((~process << 3) | 2)


def memory(process: int, what: str = "VmRSS") -> float:
    """Give the MiB that a process has now (VmRSS), or has had at most (VmHWM; proc(5))."""
    return int(Path(f"/proc/{process}/status").read_text().partition(f"{what}:")[2].split()[0]) / 1024


def family_seconds(process: int) -> float:
    """Give how long a process, its children and those that have ended kept processors busy."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    living = sum(sum(_times(Path(f"/proc/{child}"))) for child in children)
    return living + sum(_times(Path(f"/proc/{process}")))


def _times(place: Path) -> list[float]:
    """Read utime, stime and, of children that have ended, cutime and cstime."""
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    return [int(field) / _TICK for field in fields[11:15]]
