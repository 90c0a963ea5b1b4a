"""Learn to tell requests apart that are to look alike: ``python -m uniform [--each 150] [--clients 4]``; minutes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onion_rdv.tor import testnet
from uniform.comparisons import COMPARISONS, SENSITIVITY, compare_twice
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
    parser.add_argument("--each", type=int, default=150, help="requests of each outcome (150)")
    parser.add_argument("--clients", type=int, default=4, help="tors that are watched at once (4)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write what passed the guard, as JSON")
    options = parser.parse_args()
    samples: list[Sample] = []

    async def look(network: testnet.Network, directory: Path, outcomes: list[Outcome]) -> list[Sample]:
        total = len(outcomes) * options.each
        seen = await watch(
            network,
            Path(tempfile.mkdtemp(dir=directory)),
            outcomes,
            clients=options.clients,
            each=options.each,
            tell=lambda done: _progress(done, total),
        )
        samples.extend(seen)
        return seen

    with tempfile.TemporaryDirectory() as directory, testnet.Keeper() as keeper:
        watching = partial(look, keeper.network, Path(directory))
        results = asyncio.run(compare_twice([*COMPARISONS, SENSITIVITY], list(Outcome), watching))
    if options.keep is not None:
        written = [(one.outcome.name, one.began, one.records) for one in samples]
        options.keep.write_text(json.dumps(written))
    print(*results, sep="\n")
    return 0 if all(result.as_it_has_to_be for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
