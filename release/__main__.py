"""The command: ``python -m release deb|dist|man``. Prints the paths of the files that it made."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from release import ROOT, bill, deb, dist, elsewhere, manual
from release.epoch import source_date_epoch


def main() -> None:
    """Make what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m release", description="Make packages of onion-rdv.")
    parser.add_argument("what", choices=("deb", "dist", "man"), nargs="+")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to; default: dist, for man pages build/man")
    parser.add_argument("--revision", type=int, default=1, help="the Debian revision of the package")
    parser.add_argument(
        "--again", action="store_true", help="build it elsewhere once more; fail if that gives other bytes"
    )
    options = parser.parse_args()
    epoch = source_date_epoch()
    if options.again and (changes := elsewhere.uncommitted()):
        sys.exit(f"release: no commit has this: {', '.join(changes)}")
    made: list[Path] = []
    for what in options.what:
        output: Path = (options.output or ROOT / ("build/man" if what == "man" else "dist")).absolute()
        output.mkdir(parents=True, exist_ok=True)
        some = _make(what, output, epoch, options.revision)
        if options.again and (others := elsewhere.differing(some, what, epoch=epoch, revision=options.revision)):
            sys.exit(f"release: built twice, and not the same bytes: {', '.join(others)}")
        made += [path for path in some if path not in made]
    if options.again:
        made.append(_digests(made))
    sys.stdout.writelines(f"{path}\n" for path in made)


def _make(what: str, output: Path, epoch: int, revision: int) -> list[Path]:
    match what:
        case "deb":
            return [deb.build(output, epoch, revision=revision), bill.build(output, epoch)]
        case "dist":
            return [*dist.build(output, epoch), bill.build(output, epoch)]
        case _:
            return manual.write(output, epoch)


def _digests(files: list[Path]) -> Path:
    """Write what ``sha256sum --check`` goes by, beside the files."""
    path = files[0].parent / "SHA256SUMS"
    digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.parent == path.parent
    }
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
    return path


if __name__ == "__main__":
    main()
