"""The keys of the directory authorities, which have to exist before any torrc can name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.errors import TestnetFailed
from onion_rdv.tor.testnet.plan import Authority
from onion_rdv.tor.testnet.processes import spawn
from onion_rdv.tor.torrc import quote

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from onion_rdv.tor.testnet.channel import Channel
    from onion_rdv.tor.testnet.programs import Programs

_IDENTITY = re.compile(r"^fingerprint ([0-9A-F]{40})$", re.MULTILINE)
_FINGERPRINT = re.compile(r"(?<=\s)((?:[0-9A-F]{4} ?){10})$", re.MULTILINE)
_POLL = 0.05


@dataclass
class _Job:
    """One program that runs to its end, in its own directory."""

    process: subprocess.Popen[bytes]
    output: Path


def _gencert(programs: Programs, directory: Path, dir_port: int) -> _Job:
    keys = directory / "keys"
    keys.mkdir(mode=0o700)
    files = {
        "-i": "authority_identity_key",
        "-s": "authority_signing_key",
        "-c": "authority_certificate",
    }
    command = [programs.gencert, "--create-identity-key", "--passphrase-fd", "0", "-m", "12"]
    command += ["-a", f"127.0.0.1:{dir_port}"]
    for option, name in files.items():
        command += [option, str(keys / name)]
    output = directory / "gencert.out"
    return _Job(spawn(command, output), output)


def _fingerprint(programs: Programs, directory: Path, or_port: int) -> _Job:
    torrc = (
        f"Nickname {directory.name}\nDataDirectory {quote(directory)}\nORPort 127.0.0.1:{or_port}\n"
        "Address 127.0.0.1\nSocksPort 0\nLog warn stderr\n"
    )
    empty = directory / "defaults"
    empty.touch()
    output = directory / "fingerprint.out"
    command = [programs.tor, "--defaults-torrc", str(empty), "-f", "-", "--list-fingerprint"]
    return _Job(spawn(command, output, torrc.encode()), output)


def _finish(channel: Channel, jobs: list[_Job]) -> None:
    """Wait for the programs' ends, ready to be stopped; raise TestnetFailed when one fails."""
    try:
        while any(job.process.poll() is None for job in jobs):
            channel.wait(_POLL)
    finally:
        for job in jobs:
            job.process.kill()
            job.process.wait()
    for job in jobs:
        if job.process.returncode:
            said = job.output.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise TestnetFailed(f"making the authorities' keys: {said[-1]}")


def _find(pattern: re.Pattern[str], path: Path) -> str:
    found = pattern.search(path.read_text(errors="replace"))
    if found is None:
        raise TestnetFailed(f"making the authorities' keys: no fingerprint in {path.name}")
    return found[1].replace(" ", "")


def make_authorities(channel: Channel, programs: Programs, ports: dict[Path, tuple[int, int]]) -> list[Authority]:
    """Make the keys of the authorities whose directories and (OR, directory) ports are given.

    Raises TestnetFailed, and Stop as :meth:`Channel.wait` does.
    """
    jobs: list[_Job] = []
    try:
        for directory, (_, dir_port) in ports.items():
            jobs.append(_gencert(programs, directory, dir_port))
        for directory, (or_port, _) in ports.items():
            jobs.append(_fingerprint(programs, directory, or_port))
    finally:
        _finish(channel, jobs)
    return [
        Authority(
            name=directory.name,
            or_port=or_port,
            dir_port=dir_port,
            identity=_find(_IDENTITY, directory / "keys" / "authority_certificate"),
            fingerprint=_find(_FINGERPRINT, directory / "fingerprint.out"),
        )
        for directory, (or_port, dir_port) in ports.items()
    ]
