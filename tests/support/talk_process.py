"""One end of a talk as people and programs run it: the ``talk`` command, as a process."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from command_line import COMMAND, no_surprise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE = 120


@dataclass
class TalkProcess:
    """A ``talk --json`` that runs; ``happened`` is what it has printed."""

    process: asyncio.subprocess.Process
    happened: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def running(
        cls, *arguments: str, env: dict[str, str], wrapper: tuple[str, ...] = ()
    ) -> AsyncIterator[Self]:
        """Run it while the block runs, by itself or as what another program runs; what is left of it is killed."""
        process = await asyncio.create_subprocess_exec(
            *wrapper,
            *COMMAND,
            "talk",
            "--json",
            *arguments,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        talk = cls(process)
        reading = [asyncio.create_task(work) for work in (talk._read_stdout(), talk._read_stderr())]
        try:
            yield talk
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.gather(*reading)
        assert all(map(no_surprise, talk.said)), talk.said

    async def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.happened.append(json.loads(line))
            self._news.set()
        self._news.set()

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip())

    def order(self, **order: Any) -> None:
        """Tell it to do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def of(self, event: str) -> list[dict[str, Any]]:
        """Give all events of a kind."""
        return [one for one in self.happened if one["event"] == event]

    @property
    def heard(self) -> list[str]:
        return [one["text"] for one in self.of("said")]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                assert self.process.returncode is None, self.said
                self._news.clear()
                await self._news.wait()

    async def hears_of(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait until something has happened so many times; gives the last."""
        await self.until(lambda: len(self.of(event)) >= times)
        return self.of(event)[-1]

    async def end(self) -> int:
        """Wait for its end; gives its exit code."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE)
