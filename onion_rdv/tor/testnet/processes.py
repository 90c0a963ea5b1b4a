"""The tor processes of the private network, as children of the keeper."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from onion_rdv.tor import torlog
from onion_rdv.tor.testnet.plan import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
_GRACE = 3.0  # seconds that a tor has to end by itself; with ShutdownWaitLength 0 it needs a tenth of one


def dying_with_parent() -> Callable[[], None]:
    """Make what has to run in a child between fork and exec, so that it is killed when this process ends.

    Sound only in a process with one thread: the signal comes when the *thread* that forked ends, and a
    forked child must not need a lock that another thread holds.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return prepare


def spawn(command: list[str], output: Path, given: bytes = b"") -> subprocess.Popen[bytes]:
    """Start a program that dies with this process; its output goes to a file, ``given`` to its stdin."""
    with output.open("ab") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            preexec_fn=dying_with_parent(),  # noqa: PLW1509 the keeper has one thread
        )
    if process.stdin is None:  # pragma: no cover
        raise AssertionError
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(given)
    return process


class Tor:
    """One tor, which can be stopped and started again with the same ports and the same directory."""

    def __init__(self, program: str, directory: Path, torrc: str) -> None:
        self.name = directory.name
        self.directory = directory
        self.log = torlog.Follower(directory / LOG)
        self._program = program
        self._torrc = torrc
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, with no torrc but its own."""
        self.log.begin_run()
        empty = self.directory / "defaults"
        empty.touch()
        command = [self._program, "--defaults-torrc", str(empty), "-f", "-"]
        self._process = spawn(command, self.directory / LOG, self._torrc.encode())

    def died(self) -> bool:
        """Say whether it was started and has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def complaint(self) -> str:
        """Give tor's last warning or error, or else the last line of its log."""
        said = (self.directory / LOG).read_text(errors="replace").splitlines()
        return torlog.refusal(said) or next((torlog.text(line) for line in reversed(said)), "it said nothing")

    def forget(self) -> None:
        """Stop counting it among the started ones."""
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Wait for its end until ``deadline`` (monotonic seconds), then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def stop(tors: Iterable[Tor]) -> None:
    """End tors, all at once, and reap them."""
    running = list(tors)
    for tor in running:
        tor.signal(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    for tor in running:
        tor.wait(deadline)
        tor.forget()
