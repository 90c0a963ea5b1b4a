"""Running ``onion-rdv`` as people and programs do: as a process, with a clean environment of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = (sys.executable, "-m", "onion_rdv")

_TIMEOUT = 120
_SURPRISES = ("Traceback", "something went wrong inside onion-rdv")


def no_surprise(said: str) -> bool:
    """Tell whether a command has said nothing of errors that nobody foresaw."""
    return not any(surprise in said for surprise in _SURPRISES)


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one JSON object that a command with ``--json`` prints."""
        lines = self.stdout.splitlines()
        assert len(lines) == 1
        return json.loads(lines[0])


def environment(home: Path, **more: str) -> dict[str, str]:
    """Give an environment in which nothing of this machine's settings is found, and nothing is written elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "COVERAGE", "LANG", "LC_"))}
    return kept | {"HOME": str(home), "TMPDIR": str(home)} | more


async def onion_rdv(*arguments: str, env: dict[str, str], stdin: str = "", wrapper: tuple[str, ...] = ()) -> Result:
    """Run a command to its end, by itself or as what another program (``wrapper``) runs."""
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        *COMMAND,
        *arguments,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(stdin.encode()), _TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    result = Result(process.returncode, stdout.decode(), stderr.decode())
    assert no_surprise(result.stderr), result.stderr
    return result
