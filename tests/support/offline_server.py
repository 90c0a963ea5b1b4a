"""A server as a process, behind a tor that has no network: it serves on its socket, and never is ready.

What tor would hand over comes straight to the socket; so faults are tried on the real program in a second each.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import no_surprise
from server_process import ServerProcess

from onion_rdv.protocol import BUCKET_SIZE, BucketId
from onion_rdv.protocol.exchange import FETCH_PATH, REPLY_SIZE, STORE_PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PATIENCE = 60


class OfflineServer(ServerProcess):
    """A server that serves; ``socket`` is where. What it can be asked here, a rendezvous server answers."""

    socket: Path

    @property
    def memory(self) -> int:
        """Give the KiB of memory that it has (proc(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    @property
    def open_files(self) -> int:
        """Count its open files."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 it is no file that is wanted

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Make a request on a connection of its own; gives the status and the 16,396 bytes of the body."""
        async with asyncio.timeout(_PATIENCE):
            # asyncio would take a queue that is full for a connection that is open.
            connection = socket.socket(socket.AF_UNIX)
            await asyncio.to_thread(connection.connect, str(self.socket))
            reader, writer = await asyncio.open_unix_connection(sock=connection)
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n".encode() + body)
            reply = await reader.readexactly(REPLY_SIZE)
            writer.close()
            await writer.wait_closed()
        return int(reply[9:12]), reply[-BUCKET_SIZE - 12 :]

    async def store(self, entry: bytes) -> BucketId | None:
        """Store an entry; None where the server is busy."""
        status, body = await self.ask(STORE_PATH, entry)
        assert status in {201, 503}
        return BucketId.decode(body[:12]) if status == 201 else None

    async def fetch(self, link: bytes) -> bytes | None:
        """Fetch a bucket; None where there is none."""
        status, body = await self.ask(FETCH_PATH, link + secrets.token_bytes(240))
        assert status in {200, 404}
        return body[12:] if status == 200 else None


@asynccontextmanager
async def serving_offline(
    state: Path,
    *arguments: str,
    env: dict[str, str],
    wrapper: tuple[str, ...] = (),
    words: tuple[str, ...] = ("serve",),
    listens: str = "server/web.socket",
) -> AsyncIterator[OfflineServer]:
    """Run ``serve`` (or what ``words`` name, which ``listens`` there) with its state below ``state``.

    ``env`` names tor's control port. When the block ends it has to stop cleanly.
    """
    command = [*wrapper, sys.executable, "-m", "onion_rdv", *words, "--state-dir", str(state), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    server = OfflineServer(process)
    reading = asyncio.create_task(server.read_stderr())
    try:
        server.socket = state / listens
        await server.wait_for("onion service: publishing")
        yield server
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), _PATIENCE) == 0, server.said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading
    assert all(map(no_surprise, server.said)), server.said


def on_a_small_disk(state: Path, size: str) -> tuple[str, ...]:
    """Give the wrapper that runs a program with a file system of this size at ``state``, gone with the program."""
    return _with_mounts(state, f'mount -t tmpfs -o size={size},mode=0700 tmpfs "$0"')


def on_a_read_only_disk(state: Path) -> tuple[str, ...]:
    """Give the wrapper that runs a program that cannot write to ``state``, not even as root."""
    return _with_mounts(state, 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"')


def _with_mounts(state: Path, script: str) -> tuple[str, ...]:
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    return ("unshare", *namespaces, "sh", "-c", f'{script} && exec "$@"', str(state))
