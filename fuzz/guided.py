"""Coverage-guided fuzzing with atheris (libFuzzer): one process for each harness, one after the other."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["onion_rdv"]):
    from fuzz.harness import Harness, harnesses

    EVERY = harnesses()

_TOO_SLOW = 20
"""Seconds that no input may take."""

_TOO_MUCH = 1024
"""MiB of memory that no harness may need."""


def fuzz_all(names: Sequence[str], options: Sequence[str], build: Path, *, keeps: bool) -> int:
    """Fuzz the harnesses of these names, or all; gives the exit code, which is 1 where something was found."""
    if unknown := set(names) - set(EVERY):
        print(f"there is no harness {', '.join(sorted(unknown))}; there are {', '.join(EVERY)}", file=sys.stderr)
        return 2
    found = 0
    for name in names or EVERY:
        directory = build / name
        (directory / "corpus").mkdir(parents=True, exist_ok=True)
        process = os.fork()
        if process == 0:
            _become_fuzzer(EVERY[name], options, directory, keeps=keeps)
        _, status = os.waitpid(process, 0)
        said = (directory / "log").read_text(errors="replace").splitlines()
        done = next((line for line in reversed(said) if line.startswith("Done")), "")
        if status:
            found += 1
            print(f"{name}: FAULT\n" + "\n".join(said[-40:]), flush=True)
            print(f"what shows it is below {directory}; python -m fuzz {name} --replay FILE", flush=True)
        else:
            print(f"{name}: {done}", flush=True)
    print(f"{found} of {len(names or EVERY)} harnesses found a fault" if found else "no fault was found", flush=True)
    return int(found > 0)


def _become_fuzzer(harness: Harness, options: Sequence[str], directory: Path, *, keeps: bool) -> None:
    """Fuzz in this process, which ends with it."""
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def test_one_input(data: bytes) -> None:
        harness.run(data)

    corpora = [harness.corpus] if keeps else [directory / "corpus", harness.corpus]
    limits = [f"-timeout={_TOO_SLOW}", f"-rss_limit_mb={_TOO_MUCH}", "-reload=0"]
    command = [sys.argv[0], *options, *limits, f"-artifact_prefix={directory}/", *map(str, corpora)]
    atheris.Setup(command, test_one_input)
    atheris.Fuzz()
    os._exit(0)
