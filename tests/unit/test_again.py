"""Processes of our own find our packages where the interpreter alone would not: installed by the Debian package."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from onion_rdv import __version__
from onion_rdv.tor.testnet import again

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_interpreter_that_knows_nothing_of_us_runs_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", f"{sys.base_prefix}/bin/python3")
    command = [*again.command("onion_rdv"), "--version"]
    alone = subprocess.run(command, env={}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named onion_rdv" in alone.stderr
    told = subprocess.run(command, env=again.search_path(), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout == f"onion-rdv {__version__}\n"
