"""What measurements of servers share: servers, load for them, and rounds in turn."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BENCH = Path(__file__).parent

_Figure = TypeVar("_Figure")


@contextlib.contextmanager
def server(*command: str | Path, ready: Callable[[], bool] | None = None) -> Iterator[int]:
    """Run a server, and give its process id; it is ready when ``ready`` says so, or when it prints a line."""
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL if ready else subprocess.PIPE,
        stderr=subprocess.DEVNULL if ready else None,
        text=True,
    ) as process:
        try:
            if ready:
                _wait(ready, process)
            elif not process.stdout or not process.stdout.readline():
                raise RuntimeError(f"{command[1]} did not start")
            yield process.pid
        finally:
            process.terminate()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("a server did not start")
        time.sleep(0.05)


def load(
    kind: str, address: str | Path | int, *, seconds: float, connections: int, links: Sequence[bytes] = ()
) -> float:
    """Have a process of its own ask a server as fast as it answers; gives answers a second."""
    named = ["--links", *(link.hex() for link in links)]
    return _answers_a_second("load.py", kind, address, *named, seconds=seconds, connections=connections)


def messaging_load(directory: Path, *, seconds: float, connections: int) -> float:
    """Have a process of its own send messages round a messaging server; gives messages a second."""
    return _answers_a_second("messaging_load.py", directory, seconds=seconds, connections=connections)


def _answers_a_second(script: str, *arguments: str | Path | int, seconds: float, connections: int) -> float:
    command = [sys.executable, BENCH / script, *arguments, "--seconds", seconds, "--connections", connections]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    return float(result["answered"] / result["seconds"])


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


def family_seconds(process: int) -> float:
    """Give how long a process, its children and those that have ended kept processors busy."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    living = sum(sum(_times(Path(f"/proc/{child}"))) for child in children)
    return living + sum(_times(Path(f"/proc/{process}")))


def _times(place: Path) -> list[float]:
    """Read utime, stime and, of children that have ended, cutime and cstime."""
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    return [int(field) / _TICK for field in fields[11:15]]
