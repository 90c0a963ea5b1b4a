"""A real PostgreSQL from the Debian package: in a temporary directory, on a Unix socket, while a test wants it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import asyncpg

from onion_rdv.tor.testnet.ports import ReservedPorts

_USER = "nobody"  # PostgreSQL refuses to run as root
_DEBIAN = Path("/usr/lib/postgresql")
_PATIENCE = 60


def find_program(name: str) -> str:
    """Find one of PostgreSQL's programs, which Debian keeps out of PATH; the newest version's."""
    versions = sorted(_DEBIAN.glob("[0-9]*"), key=lambda path: int(path.name), reverse=True)
    for program in (version / "bin" / name for version in versions):
        if program.exists():
            return str(program)
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt install postgresql"
    return found


class PostgresServer:
    """A cluster of its own, as a process that ends with this one."""

    def __init__(self, directory: Path | None = None, **settings: str) -> None:
        """Make it in a new directory (inside another one if it is named); ``settings`` are as in postgresql.conf.

        Where it is to listen on TCP, a port is kept for it until it is removed, also while it is stopped.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir=directory))
        own = {"listen_addresses": "", "port": "5432", "unix_socket_directories": str(self.directory)}
        self._kept = ExitStack()
        if settings.get("listen_addresses"):
            own["port"] = str(self._kept.enter_context(ReservedPorts()).take())
        self._settings = own | settings
        self.port = self._settings["port"]
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.directory, _USER)
        initdb = ("initdb", "-D", "data", "-U", "onion", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        subprocess.run(self._command(*initdb), check=True, stdout=subprocess.DEVNULL, cwd=self.directory)

    def _command(self, program: str, *arguments: str) -> list[str]:
        # When this process ends, whatever ends it, PostgreSQL stops at once.
        command = ["setpriv", "--pdeathsig", "QUIT"]
        if os.geteuid() == 0:
            command += ["--reuid", _USER, "--regid", "nogroup", "--clear-groups"]
        return [*command, find_program(program), *arguments]

    def put(self, file: Path) -> None:
        """Copy a file to where PostgreSQL has its data, and lets nobody else read it."""
        copy = self.directory / "data" / file.name
        shutil.copy(file, copy)
        copy.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(copy, _USER)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", "data", *arguments), stdout=log, stderr=log, cwd=self.directory
            )
        self._wait()

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it, by default as if its machine lost power, except for what the disk's cache holds."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        self._kept.close()
        shutil.rmtree(self.directory)

    def url(self, database: str) -> str:
        """Say how clients name a database."""
        return f"postgresql://onion@/{database}?host={self.directory}&port={self.port}"

    async def make_database(self) -> str:
        """Make an empty database; gives its URL."""
        self._databases += 1
        name = f"test{self._databases}"
        await self.execute("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    async def execute(self, database: str, statements: str) -> None:
        """Do something in a database as its owner."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        asking = [find_program("pg_isready"), "-q", "-h", str(self.directory), "-p", self.port]
        while subprocess.run(asking, check=False).returncode:
            assert self._process is not None
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
