"""A server as operators run it: the ``serve`` command or another one, as a process."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from command_line import no_surprise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PATIENCE = 120


@dataclass
class ServerProcess:
    """A server that is ready; ``name`` is how clients name it."""

    process: asyncio.subprocess.Process
    name: str = ""
    said: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until it has said something on stderr so many times since its start."""
        async with asyncio.timeout(_PATIENCE):
            while sum(words in line for line in self.said) < times:
                self._news.clear()
                await self._news.wait()

    async def read_stderr(self) -> None:
        """Collect what it says, until it ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip())
            self._news.set()


@asynccontextmanager
async def serving(
    *arguments: str, env: dict[str, str], wrapper: tuple[str, ...] = (), words: tuple[str, ...] = ("serve",)
) -> AsyncIterator[ServerProcess]:
    """Run ``serve`` (or what ``words`` name) until the block ends.

    It has to be ready before, and to stop cleanly after.
    """
    command = [*wrapper, sys.executable, "-m", "onion_rdv", *words, "--json", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    server = ServerProcess(process)
    reading = asyncio.create_task(server.read_stderr())
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _PATIENCE)
        assert line, "\n".join(server.said)
        server.name = json.loads(line)["server"]
        yield server
        if process.returncode is None:
            process.terminate()
        code = await asyncio.wait_for(process.wait(), _PATIENCE)
        assert code in {0, -9}, f"{code}: {server.said}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading
    assert all(map(no_surprise, server.said)), server.said
