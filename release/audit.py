"""The command ``python -m release.audit``: asks OSV whether a vulnerability of any locked package is known.

``make lint`` runs it. Where OSV cannot be asked it warns, and with ``--strict``, as in ``make release``, fails. Ends
with 1 when there is something to do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, TextIO

from onion_rdv.cli.terminal import printable
from release import ROOT, osv
from release.locks import LOCKS, read
from release.osv import Advisory, NotAuditedError, Package
from release.reviewed import ADVISORIES, Reviewed, reviewed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAST: Final = ROOT / "build" / "last-audit"
"""Says when the database was asked last and answered."""


@dataclass(frozen=True)
class Audit:
    """What is asked about, and what there is to know beside it."""

    locks: Sequence[Path] = LOCKS
    advisories: Path = ADVISORIES
    last: Path = LAST
    today: date = field(default_factory=lambda: datetime.now(UTC).date())

    async def run(self, database: str = osv.DATABASE, *, patience: float = osv.PATIENCE, strict: bool = False) -> int:
        """Ask about all lock files, and say what came of it; gives the exit code."""
        packages = self._packages()
        exempt = reviewed(self.advisories)
        try:
            found = await osv.known_vulnerabilities(packages, database, patience)
        except NotAuditedError as error:
            _say(f"WARNING: NOTHING WAS AUDITED: asking {database} for known vulnerabilities: {error}", sys.stderr)
            _say(self._last_time(), sys.stderr)
            return int(strict)
        self.last.parent.mkdir(exist_ok=True)
        self.last.write_text(f"{self.today}\n")
        open_ones = {
            package: [one for one in advisories if not any(_is_about(entry, package, one) for entry in exempt)]
            for package, advisories in found.items()
        }
        faults = [
            f"{package.name} {package.version} ({', '.join(packages[package])}): {_describe(advisory)}"
            for package, advisories in open_ones.items()
            for advisory in advisories
        ]
        faults += [
            f"{self.advisories.name}: {entry.id}: {fault}"
            for entry in exempt
            if (fault := entry.fault(self.today) or _is_unused(entry, found))
        ]
        for fault in faults:
            _say(fault, sys.stderr)
        if not faults:
            _say(f"{len(packages)} packages of {len(self.locks)} lock files: no vulnerability is known", sys.stdout)
        return int(bool(faults))

    def _packages(self) -> dict[Package, list[str]]:
        """List what is locked, on whatever system it would be installed, and the files that lock it."""
        packages: dict[Package, list[str]] = {}
        for lock in self.locks:
            for locked in read(lock):
                files = packages.setdefault(Package(locked.name, locked.version), [])
                name = str(lock.relative_to(ROOT)) if lock.is_relative_to(ROOT) else lock.name
                if name not in files:  # it may be there once for each of some systems
                    files.append(name)
        return packages

    def _last_time(self) -> str:
        try:
            return f"the last audit in this checkout was on {self.last.read_text().strip()}"
        except OSError:
            return "there was no audit in this checkout yet"


def _is_about(entry: Reviewed, package: Package, advisory: Advisory) -> bool:
    return entry.package == package.name and entry.id in advisory.ids


def _is_unused(entry: Reviewed, found: dict[Package, list[Advisory]]) -> str | None:
    used = any(_is_about(entry, package, one) for package, advisories in found.items() for one in advisories)
    return None if used else f"there is no such advisory about the {entry.package} that is locked: take it out"


def _describe(advisory: Advisory) -> str:
    fixed = f"fixed in {', '.join(advisory.fixed)}" if advisory.fixed else "no version is known to be without it"
    said = [" = ".join(advisory.ids), advisory.severity, _shortened(advisory.summary), fixed]
    return ": ".join(part for part in said if part)


def _shortened(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def _say(text: str, where: TextIO) -> None:
    where.write(f"audit: {printable(text)}\n")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m release.audit", description="Ask OSV about what is locked.")
    parser.add_argument("--strict", action="store_true", help="fail where the database cannot be asked")
    parser.add_argument("--database", default=osv.DATABASE, metavar="URL", help="one that speaks as OSV does")
    options = parser.parse_args()
    # asyncio leaves names to the C library, and waits for it at the end, however long it asks servers that are mute.
    os.environ.setdefault("RES_OPTIONS", f"timeout:{osv.PATIENCE:.0f} attempts:1")
    try:
        sys.exit(asyncio.run(Audit().run(options.database, strict=options.strict)))
    except ValueError as error:
        sys.exit(f"audit: {printable(str(error))}")


if __name__ == "__main__":
    main()
