"""How many files a server may have open."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command_line import environment

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import resource, sys
from onion_rdv.cli.main import main
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
code = main([*sys.argv[2:], "--check-config"])
print("limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
sys.exit(code)
"""


@pytest.mark.parametrize(("hard", "code", "limit"), [(4096, 0, 2048 + 64), (2111, 2, 256)])
@pytest.mark.parametrize("words", [("serve",), ("messaging", "serve")], ids=" ".join)
def test_connections_have_to_be_possible(
    words: tuple[str, ...], hard: int, code: int, limit: int, tmp_path: Path
) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 4096
    command = [sys.executable, "-c", PROGRAM, str(hard), *words]
    result = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (code, f"limit {limit}")
    if code:
        assert "needs 2112 open files, and it may have 256 (max_connections from the default)" in result.stderr
        assert "LimitNOFILE" in result.stderr
