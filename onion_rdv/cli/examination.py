"""What the doctor looks at, one check after the other."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from onion_rdv.cli.admission import admitted
from onion_rdv.client.server import RendezvousClient, RendezvousServer
from onion_rdv.errors import BucketUnknown, CommandRefused, NoTor, RdvError, StoreError
from onion_rdv.protocol import BUCKET_LINK_SIZE
from onion_rdv.tor import control as tor_control
from onion_rdv.tor import socks as tor_socks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.tor.control import Control
    from onion_rdv.tor.socks import SocksPort

_MIN_FREE = 100 * 2**20  # bytes; a full week of buckets at ten links a minute is about as much
_VERSION_TIMEOUT = 10.0  # seconds; a tor says it in a fraction of one
_INSTALL = "apt install tor, and on Debian 12 keep the security archive enabled"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it where it is not right."""

    name: str
    status: Literal["ok", "warning", "failure"]
    detail: str
    hint: str = ""
    exit_code: int = field(default=0)


def _failure(name: str, error: RdvError) -> Finding:
    return Finding(name, "failure", error.message, error.hint, error.exit_code)


@dataclass(frozen=True, slots=True)
class Examination:
    """All checks, with the settings that the other commands would use."""

    socks: str | None
    control: str | None
    control_password_file: Path | None
    state_directory: Path
    servers: tuple[str, ...]
    timeout: float
    socks_control: str | None = None

    async def run(self) -> AsyncIterator[Finding]:
        """Make the checks in turn; none of them raises."""
        yield await self._check_program()
        port: SocksPort | None = None
        try:
            port = await self._find_socks()
            yield Finding("socks", "ok", f"tor answers at {port}")
        except RdvError as error:
            yield _failure("socks", error)
        control: Control | None = None
        try:
            control = await self._find_control()
            if control is None:
                yield Finding(
                    "control",
                    "warning",
                    "no control port answers: isolation and clock cannot be checked, serve would start its own tor",
                    "add ControlPort 9051 and CookieAuthentication 1 to torrc to use the tor that runs",
                )
        except RdvError as error:
            yield _failure("control", error)
        if control is not None:
            async with control:
                async for finding in _check_through(control):
                    yield finding
        yield self._check_state_directory()
        for server in self.servers:
            yield await self._check_server(server, port)

    async def _check_program(self) -> Finding:
        path = shutil.which("tor")
        if path is None:
            return Finding("tor", "warning", "there is no tor program here; one elsewhere can be used", _INSTALL)
        try:
            said = await _ask_version(path)
        except OSError as error:
            why = "it says nothing" if isinstance(error, TimeoutError) else error.strerror
            return Finding("tor", "warning", f"{path} is no tor that can be started: {why}", _INSTALL)
        return _judge_version("tor", said.decode(errors="replace").split("\n")[0].removeprefix("Tor version "))

    async def _find_socks(self) -> SocksPort:
        if self.socks is not None:
            return await tor_socks.named_socks(self.socks)
        found = await tor_socks.find_socks()
        if found is None:
            raise NoTor("no tor answers at 127.0.0.1:9050 or 9150; client commands would start their own")
        return found

    async def _find_control(self) -> Control | None:
        if self.control is not None:
            return await tor_control.connect(self.control, password_file=self.control_password_file)
        return await tor_control.find(password_file=self.control_password_file)

    def _check_state_directory(self) -> Finding:
        try:
            return _judge_state_directory(self.state_directory)
        except OSError as error:
            return Finding(
                "state",
                "failure",
                f"{self.state_directory} cannot be looked at: {error.strerror}",
                "mend the owner and the permissions of what it is in, or name another with --state-dir",
                StoreError.exit_code,
            )

    async def _check_server(self, named: str, port: SocksPort | None) -> Finding:
        """Ask for a bucket that cannot be: whoever knows the protocol says so."""
        name = "server"
        try:
            server = RendezvousServer.parse(named)
            if port is None:
                raise NoTor("a server can only be asked through Tor")
            async with admitted(self.state_directory, port, self.socks_control):
                started = time.monotonic()
                await RendezvousClient(port, server, self.timeout).fetch(secrets.token_bytes(BUCKET_LINK_SIZE))
        except BucketUnknown:
            return Finding(name, "ok", f"{server} answers in {time.monotonic() - started:.1f} s")
        except RdvError as error:
            return _failure(name, error)
        return Finding(name, "failure", f"{server} gives a bucket for any link", "do not use it", 7)


async def _ask_version(program: str) -> bytes:
    """Have a tor say its version; raises OSError where it cannot be run, and TimeoutError where it says nothing."""
    process = await asyncio.create_subprocess_exec(
        program, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_VERSION_TIMEOUT):
            said, _ = await process.communicate()
        return said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _judge_state_directory(directory: Path) -> Finding:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        return Finding(
            "state", "failure", f"{existing} cannot be written", "name another with --state-dir", StoreError.exit_code
        )
    free = shutil.disk_usage(existing).free
    if free < _MIN_FREE:
        return Finding("state", "warning", f"{directory} has {free // 2**20} MiB left", "make room")
    if existing == directory and directory.stat().st_mode & 0o077:
        return Finding("state", "warning", f"others can look into {directory}", f"chmod 700 {directory}")
    return Finding("state", "ok", f"{directory} ({'there' if existing == directory else 'made when it is needed'})")


async def _check_through(control: Control) -> AsyncIterator[Finding]:
    """Make the checks that need a control connection."""
    yield Finding("control", "ok", f"we are let in at {control.address}")
    try:
        yield _judge_version("running tor", str(await control.version()))
        bootstrap = await control.bootstrap()
        if bootstrap.percent < 100:
            yield Finding(
                "bootstrap", "warning", f"{bootstrap.percent}%: {bootstrap.summary}", "wait, or see tor's log"
            )
        else:
            yield Finding("bootstrap", "ok", "tor is connected")
        for finding in _judge_socks_ports([value for _, value in await control.conf("SocksPort")]):
            yield finding
        yield await _check_clock(control)
    except RdvError as error:
        yield _failure("control", error)


def _judge_version(name: str, said: str) -> Finding:
    from stem.version import Version

    text = said.strip().rstrip(".").split(" ")[0]
    try:
        version = Version(text)
    except ValueError:
        return Finding(name, "warning", "its version cannot be told", _INSTALL)
    if version < tor_control.RECOMMENDED_TOR:
        return Finding(
            name,
            "warning",
            f"version {text} lets a rendezvous point impersonate an onion service",
            f"use {tor_control.RECOMMENDED_TOR} or later: {_INSTALL}",
        )
    return Finding(name, "ok", f"version {text}")


def _judge_socks_ports(ports: list[str]) -> list[Finding]:
    """Look at the flags of the SOCKS ports in tor's configuration; by default tor isolates."""
    flags = {flag.strip('"').lower() for port in ports for flag in port.split()[1:]}
    if "noisolatesocksauth" in flags:
        isolation = Finding(
            "isolation",
            "failure",
            "a SOCKS port has NoIsolateSOCKSAuth: operations would share circuits",
            "take that flag out of torrc",
            NoTor.exit_code,
        )
    else:
        isolation = Finding("isolation", "ok", "every operation gets a circuit of its own")
    if any(not port.startswith("0") for port in ports) and "extendederrors" not in flags:
        return [isolation, Finding("errors", "warning", "tor will not say why a service cannot be reached",
                                   "add ExtendedErrors to SocksPort in torrc")]  # fmt: skip
    return [isolation]


async def _check_clock(control: Control) -> Finding:
    """Compare the clock with the times between which the consensus holds; tor says them in UTC."""
    now = datetime.now(UTC)
    try:
        after, until = [
            datetime.fromisoformat(f"{await control.info(f'consensus/{edge}')}+00:00")
            for edge in ("valid-after", "valid-until")
        ]
    except (CommandRefused, ValueError):
        return Finding("clock", "warning", "tor has no consensus yet to compare the clock with", "try again later")
    if after <= now <= until:
        return Finding("clock", "ok", "it agrees with the Tor network")
    return Finding(
        "clock",
        "failure",
        f"it says {now:%Y-%m-%d %H:%M} UTC, and the Tor network's consensus is of {after:%Y-%m-%d %H:%M}",
        "set the clock (timedatectl set-ntp true): tor and the bucket checks need it",
        NoTor.exit_code,
    )
