"""Learn to tell requests apart that are to look alike: ``python -m uniform [--each 100] [--clients 4]``; minutes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from onion_rdv.tor import testnet
from uniform.comparisons import COMPARISONS, SENSITIVITY, compare
from uniform.requests import Outcome, watch

if TYPE_CHECKING:
    from uniform.requests import Sample


def _progress(done: int, total: int) -> None:
    if done % 10 and done < total:
        return
    print(f"\r{done} of {total} requests", end="" if done < total else "\n", file=sys.stderr, flush=True)


def main() -> int:
    """Do what the command line asks for; gives 1 where a comparison is not as it has to be."""
    parser = argparse.ArgumentParser(
        prog="python -m uniform", description="Learn to tell requests apart at the guard."
    )
    parser.add_argument("--each", type=int, default=100, help="requests of each outcome (100)")
    parser.add_argument("--clients", type=int, default=4, help="tors that are watched at once (4)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write what passed the guard, as JSON")
    options = parser.parse_args()
    total = len(Outcome) * options.each

    def measure(network: testnet.Network, directory: Path) -> list[Sample]:
        return asyncio.run(
            watch(
                network,
                directory,
                list(Outcome),
                clients=options.clients,
                each=options.each,
                tell=lambda done: _progress(done, total),
            )
        )

    with tempfile.TemporaryDirectory() as directory, testnet.Keeper() as keeper:
        samples = measure(keeper.network, Path(directory))
    if options.keep is not None:
        written = [(one.outcome.name, one.began, one.records) for one in samples]
        options.keep.write_text(json.dumps(written))
    results = [compare(comparison, samples) for comparison in COMPARISONS]
    print(*results, compare(SENSITIVITY, samples), sep="\n")
    return 0 if all(result.as_it_has_to_be for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
