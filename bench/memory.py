"""The memory of a server, with few buckets and with many, idle and asked, beside a bare aiohttp server's.

``onion-rdv serve`` as it is shipped, except that it may open as many buckets as it is asked for (unlimited.py), so
that all stores are taken; its tor has no network, so what tor would hand over comes straight to the socket. The bare
server answers the same requests. Memory is what is resident (RSS), with all libraries, whoever shares them.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from contender import Rendezvous
from filled import FEW, MANY, fill_sqlite
from harness import BENCH, load, memory, ratios, server
from rows import Measured, Row, alone

from onion_rdv.rendezvous.opening import STORE_FILE
from onion_rdv.rendezvous.settings import ServerSettings

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

sys.path.append(str(BENCH.parent / "tests" / "support"))

from offline_tor import offline_tor  # what the tests start, too

CONNECTIONS = 16
MORE = 25.0
"""MiB that a server may have more than the bare one."""

FLAT = 1.15
"""Times as much as with few buckets that it may have with many, which fill what caches a few do not."""

LOOK_EVERY = 0.01
REST = 0.5  # seconds


@dataclass(frozen=True)
class Weight:
    """MiB of one server: when it has started, towards the end of either load (medians), a while later, and ever."""

    idle: float
    stores: float
    fetches: float
    after: float
    most: float

    @property
    def loaded(self) -> float:
        return max(self.stores, self.fetches)


NAMES = {
    "idle": "idle",
    "stores": "asked for stores",
    "fetches": "asked for fetches",
    "after": "after that",
    "most": "at most",
}


@dataclass(frozen=True)
class Contender:
    """A server that can be started again and again."""

    command: Sequence[str | Path]
    socket: Path
    rendezvous: Rendezvous | None = None
    links: Sequence[bytes] = ()

    def running(self) -> contextlib.AbstractContextManager[int]:
        return server(*self.command, ready=self._answers)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def weigh(self, seconds: float) -> Weight:
        """Start it, ask it, and stop it again."""
        with self.running() as process:
            time.sleep(LOOK_EVERY)
            idle = memory(process)
            stores = self._asked(process, "store", seconds)
            if self.rendezvous is not None:
                self.rendezvous.settle()
            fetches = self._asked(process, "fetch", seconds)
            time.sleep(REST)
            return Weight(idle, stores, fetches, memory(process), memory(process, "VmHWM"))

    def _asked(self, process: int, kind: str, seconds: float) -> float:
        asking = partial(load, kind, self.socket, seconds=seconds, connections=CONNECTIONS, links=self.links)
        seen = []
        with ThreadPoolExecutor(1) as other:
            answered = other.submit(asking)
            while not answered.done():
                seen.append(memory(process))
                time.sleep(LOOK_EVERY)
        answered.result()
        return statistics.median(seen[len(seen) // 2 :])


def bare(directory: Path) -> Contender:
    """Give the server that answers everything alike."""
    place = directory / "bare"
    return Contender([sys.executable, BENCH / "bare.py", place], place)


def onion(directory: Path, control: str, buckets: int) -> Contender:
    """Give ``onion-rdv serve``, whose tor is at ``control``, with a store that has so many buckets."""
    home = directory / f"home-{buckets}"
    home.mkdir(mode=0o700)
    state = home / "server"
    # Nobody's settings are to be found: neither in the environment nor in a home directory.
    command: list[str | Path] = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={home}"]
    command += [sys.executable, BENCH / "unlimited.py", "serve", "--control", control, "--state-dir", home]
    empty = Contender(command, state / ServerSettings.SOCKET)
    with empty.running():
        pass  # it has made its key and its store
    links = fill_sqlite(state / STORE_FILE, buckets)
    return replace(empty, rendezvous=Rendezvous(state, exists=True, socket=ServerSettings.SOCKET), links=links)


def measure(seconds: float = 0.4, rounds: int = 3, directory: Path | None = None) -> Measured:
    """Measure everything here in three quarters of a minute; takes 2 GB of disk meanwhile."""
    with tempfile.TemporaryDirectory(dir=directory) as name, offline_tor(Path(name) / "tor") as tor:
        place = Path(name)
        few, many, nothing = (f"{FEW} buckets", f"{MANY:,} buckets", "bare")
        contenders = {nothing: bare(place)}
        contenders |= {said: onion(place, tor.control, count) for said, count in ((few, FEW), (many, MANY))}
        weights: dict[str, list[Weight]] = {said: [] for said in contenders}
        for _ in range(rounds):
            for said in random.sample(list(contenders), len(contenders)):
                weights[said].append(contenders[said].weigh(seconds))
    rows = []
    for said in (few, many):
        for when in ("idle", "loaded"):
            of_ours, of_bare = ([getattr(one, when) for one in weights[which]] for which in (said, nothing))
            beyond = [(ours - bare) / MORE for ours, bare in zip(of_ours, of_bare, strict=True)]
            rows.append(
                Row(f"memory beyond a bare aiohttp server's / {MORE:g} MiB: {said}, {when}", beyond, 1, "low")
            )
    flat = ratios([one.loaded for one in weights[many]], [one.loaded for one in weights[few]])
    rows.append(Row(f"memory with {MANY:,} buckets / with {FEW}: loaded", flat, FLAT, "low"))
    told = [_tell(said, found) for said, found in weights.items()]
    told.append("memory at most: with 19 MiB for Argon2id, while the link of a bucket is computed (some 20 ms)")
    return Measured(rows, told)


def _tell(said: str, weights: Sequence[Weight]) -> str:
    found = {
        field.name: statistics.median(getattr(weight, field.name) for weight in weights) for field in fields(Weight)
    }
    when = ", ".join(f"{NAMES[name]} {mebibytes:.0f}" for name, mebibytes in found.items())
    return f"memory of a server, {said}: {when} MiB"


if __name__ == "__main__":
    alone(measure)
