"""How long the command line takes to start, beside the start of a bare interpreter and that of magic-wormhole.

Commands that people wait for are run, too, against a tor that refuses every stream: all that they do before the
network answers, most of which is imports.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import BENCH, in_turn, ratios
from rows import NOT_MEASURED, Measured, Row, alone

from onion_rdv.errors import ServerUnreachable
from onion_rdv.protocol import Invite, encode_onion_address

sys.path.append(str(BENCH.parent / "tests" / "support"))

from command_line import environment  # what the tests run commands in, too
from socks_proxy import RecordingSocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PYTHON = Path(sys.executable)
_INSTALLED = _PYTHON.with_name("onion-rdv")
_WORMHOLE = BENCH.parent / ".venv-bench" / "bin" / "wormhole"
_KEY = bytes(range(32))
_NOTHING_LISTENS = 0x05
"""What tor's SOCKS port says of a port of an onion service at which nothing listens."""

PASS = "python -c pass"
WORMHOLE = "wormhole --help"
OURS = ("onion-rdv --help", "onion-rdv --version", "python -m onion_rdv --help", "python -m onion_rdv --version")
STARTS: Mapping[str, Sequence[str | Path]] = {
    PASS: (_PYTHON, "-c", "pass"),
    **{name: (_INSTALLED if name.startswith("onion-rdv") else _PYTHON, *name.split()[1:]) for name in OURS},
}


def starts(rounds: int = 16) -> Measured:
    """Measure what prints its own help or version."""
    commands = dict(STARTS)
    if _WORMHOLE.exists():
        commands[WORMHOLE] = (_WORMHOLE, "--help")
    with tempfile.TemporaryDirectory() as home:
        measured = _measure(commands, rounds, Path(home))
    rows = [Row(f"{name} / {PASS}", ratios(measured[name], measured[PASS]), 3, "low") for name in OURS]
    for one in OURS[:2]:
        beside = ratios(measured[one], measured[WORMHOLE]) if WORMHOLE in commands else []
        rows.append(Row(f"{one} / {WORMHOLE}", beside, 1 / 3, "low"))
    told = []
    if WORMHOLE not in commands:
        told.append(f"{NOT_MEASURED}{WORMHOLE}: magic-wormhole is not installed in .venv-bench")
    return Measured(rows, told)


async def commands(rounds: int = 6) -> Measured:
    """Measure commands that do their work as far as they get without an answer from the network."""
    invite = Invite(_KEY, 80, bytes(16), bytes(16), passphrase="correct horse battery staple")
    async with RecordingSocks([_NOTHING_LISTENS]) as tor:
        socks = ("--socks", str(tor.socks))
        running: dict[str, Sequence[str | Path]] = {
            PASS: STARTS[PASS],
            "accept": (_INSTALLED, "accept", str(invite), *socks),
            "offer": (_INSTALLED, "offer", "smp://a.example", "--server", encode_onion_address(_KEY), *socks),
            "status": (_INSTALLED, "status"),
            "serve --check-config": (_INSTALLED, "serve", "--check-config"),
        }
        with tempfile.TemporaryDirectory() as home:
            measured = await asyncio.to_thread(_measure, running, rounds, Path(home))
    told = []
    for name in list(running)[1:]:
        times = statistics.median(ratios(measured[name], measured[PASS]))
        told.append(
            f"onion-rdv {name}, as far as it gets without an answer, takes {times:.0f} times as long as {PASS}"
        )
    return Measured([], told)


def _measure(running: Mapping[str, Sequence[str | Path]], rounds: int, home: Path) -> dict[str, list[float]]:
    """Run commands in turn; gives seconds. The first run of each does not count: it may have to compile."""
    env = environment(home)

    def run(command: Sequence[str | Path]) -> float:
        started = time.perf_counter()
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        seconds = time.perf_counter() - started
        assert done.returncode in {0, ServerUnreachable.exit_code}, done.stderr
        return seconds

    contenders = {name: lambda command=command: run(command) for name, command in running.items()}
    in_turn(contenders, 1)
    return in_turn(contenders, rounds)


def measure() -> Measured:
    """Measure everything here, in some twenty-five seconds."""
    started, worked = starts(), asyncio.run(commands())
    return Measured(started.rows, [*started.told, *worked.told])


if __name__ == "__main__":
    alone(measure)
