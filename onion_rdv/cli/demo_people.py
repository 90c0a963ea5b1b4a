"""The demonstration's cast: the real command line, as processes. Secrets go through pipes, not through arguments."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from onion_rdv.errors import RdvError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_GRACE: Final = 20.0  # seconds that a process has to end
_PATIENCE: Final = 90.0  # seconds for an event that has to come


class Process:
    """A command that prints JSON, one object a line."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    async def hear(self, *wanted: str) -> dict[str, Any]:
        """Wait for one of these events, and drop others; without names, for the next object, whatever it is."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                heard = await self._next()
                if not wanted or heard["event"] in wanted:
                    return heard

    def order(self, **order: object) -> None:
        """Tell it to do something."""
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def end(self) -> None:
        """Wait until it has ended, and see that it is content."""
        async with asyncio.timeout(_GRACE):
            _, stderr = await self._process.communicate()
        if self._process.returncode:
            raise self._failed(stderr)

    async def stop(self) -> None:
        """End it, however it is."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.communicate(), _GRACE)
            except TimeoutError:
                self._process.kill()
                await self._process.communicate()

    async def _next(self) -> dict[str, Any]:
        line = await self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            _, stderr = await self._process.communicate()
            raise self._failed(stderr)
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _failed(self, stderr: bytes) -> RdvError:
        said = stderr.decode(errors="replace").strip()
        return RdvError(f"{self._name} ended with {self._process.returncode}: {said}")


@asynccontextmanager
async def running(
    *words: str, environment: Mapping[str, str], secrets: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run ``onion-rdv`` with these words and ``--json``; ``secrets`` are options that name a file with a secret."""
    from onion_rdv.tor.testnet import again
    from onion_rdv.tor.testnet.processes import dying_with_parent

    arguments, descriptors = list(words), []
    try:
        for option, secret in (secrets or {}).items():
            descriptors.append(_readable(secret))
            arguments += [option, f"/dev/fd/{descriptors[-1]}"]
        started = await asyncio.create_subprocess_exec(
            *again.command("onion_rdv"),
            *arguments,
            "--json",
            env={**environment, **again.search_path()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            preexec_fn=dying_with_parent(),  # forked from the main thread; takes no lock
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    process = Process(f"onion-rdv {words[0]}", started)
    try:
        yield process
    finally:
        await process.stop()


def _readable(secret: str) -> int:
    """Put a secret into a pipe, which is read once and is no file; gives the end to read from."""
    reading, writing = os.pipe()
    os.write(writing, secret.encode())
    os.close(writing)
    return reading
