"""The command: ``python -m release deb|dist|man``. Prints the paths of the files that it made."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from release import ROOT, deb, dist, manual
from release.epoch import source_date_epoch


def main() -> None:
    """Make what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m release", description="Make packages of onion-rdv.")
    parser.add_argument("what", choices=("deb", "dist", "man"))
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to; default: dist, for man pages build/man")
    parser.add_argument("--revision", type=int, default=1, help="the Debian revision of the package")
    options = parser.parse_args()
    output: Path = options.output or ROOT / ("build/man" if options.what == "man" else "dist")
    output.mkdir(parents=True, exist_ok=True)
    epoch = source_date_epoch()
    match options.what:
        case "deb":
            made = [deb.build(output.absolute(), epoch, revision=options.revision)]
        case "dist":
            made = dist.build(output.absolute(), epoch)
        case _:
            made = manual.write(output, epoch)
    sys.stdout.writelines(f"{path}\n" for path in made)


if __name__ == "__main__":
    main()
