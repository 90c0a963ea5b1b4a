"""All measurements, or the parts that are named: a table, and files for people and programs, in under ten minutes.

All of them together leave ``bench/results.md``, ``bench/results.json`` and ``bench/plots``; some of them leave the
same in ``build/bench``. The exit code says whether everything was measured, keeps its bound, and took less
than ten minutes.
"""

from __future__ import annotations

import argparse
import compileall
import signal
import sys
from functools import partial
from pathlib import Path

import blocks
import client
import crowd
import flood
import growth
import introduction_way
import memory
import publishing
import report
import reunion
import server
import start
import store_kinds
from harness import BENCH
from network import private_network
from parts import Part, Run, choose, run, times, whole
from rows import show

PARTS = (
    Part("start", 14, start.measure),
    Part("client", 14, client.measure),
    Part("blocks", 4, blocks.measure),
    Part("server", 75, partial(server.measure, directory=Path.cwd())),
    Part("store_kinds", 30, partial(store_kinds.measure, directory=Path.cwd())),
    Part("growth", 74, partial(growth.measure, directory=Path.cwd())),
    Part("memory", 30, partial(memory.measure, directory=Path.cwd())),
    Part("reunion", 56, reunion.measure),
    Part("flood", 46, flood.measure),
    Part("introduction_way", 73, introduction_way.measure, on_network=True),
    Part("crowd", 58, crowd.measure, on_network=True),
    Part("publishing", 67, publishing.measure, on_network=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(part.name for part in PARTS))
    names = parser.parse_args().parts
    try:
        parts = choose(PARTS, names)
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    result = Run()
    # As what is installed is; some environments keep Python from doing that by itself.
    compileall.compile_dir(BENCH.parent / "onion_rdv", quiet=1)
    try:
        done = run(parts, private_network, result)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    directory = BENCH.parent / "build" / "bench" if names else BENCH
    undrawn = report.write(done, directory)
    show(row for found in done.measured.values() for row in found.rows)
    print(*(line for found in done.measured.values() for line in found.told), *undrawn, sep="\n")
    print(f"time: {times(done.seconds)}; from start to end {whole(done.took)}")
    print(f"written: {directory}/results.md, results.json, {report.PLOTS}")
    sys.exit(not done.holds)


if __name__ == "__main__":
    main()
