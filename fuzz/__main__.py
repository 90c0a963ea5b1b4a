"""Fuzz some harnesses, or all: ``python -m fuzz [NAME ...] [--seconds 20 | --runs 1000]``; or replay one input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz.harness import harnesses

BUILD = Path(__file__).parents[1] / "build" / "fuzz"


def main() -> int:
    """Do what the command line asks for; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz what reads the bytes of strangers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="harnesses; all of them where none is named")
    parser.add_argument("--seconds", type=int, default=20, help="how long each is fuzzed (20)")
    parser.add_argument("--runs", type=int, help="how many inputs each is given, instead of a time")
    parser.add_argument(
        "--seed", type=int, default=0, help="makes runs of one number of inputs the same (0: none does)"
    )
    parser.add_argument("--build", type=Path, default=BUILD, help="where what is found goes (build/fuzz)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="give this input to the harness that is named")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reaches more of the code")
    options = parser.parse_args()
    if options.replay is not None:
        (name,) = options.names
        print("understood" if harnesses()[name].run(options.replay.read_bytes()) else "refused")
        return 0
    try:
        from fuzz import guided
    except ImportError:
        print("fuzz: atheris is not installed here (there is none for this platform, or Python)", file=sys.stderr)
        return 2
    limit = f"-max_total_time={options.seconds}" if options.runs is None else f"-runs={options.runs}"
    return guided.fuzz_all(options.names, [limit, f"-seed={options.seed}"], options.build, keeps=options.keep)


if __name__ == "__main__":
    sys.exit(main())
