"""A network that stays up until it is taken down: what ``onion-rdv testnet up``, ``down`` and ``status`` do."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onion_rdv.errors import TestnetFailed
from onion_rdv.tor import torlog
from onion_rdv.tor.progress import Progress, silent
from onion_rdv.tor.testnet import plan, state
from onion_rdv.tor.testnet.attach import Busy, Keeper
from onion_rdv.tor.testnet.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL = 0.05
_UP_TIMEOUT = 200.0  # seconds; more than a keeper gives its tors
_DOWN_TIMEOUT = 15.0
_KEEPER = b"onion_rdv.tor.testnet.keeper"


@dataclass(frozen=True)
class Status:
    """What is known of the network that stays up.

    ``phase`` is ``down``, ``starting``, ``up`` or ``ending``. ``tors`` has the process id of each tor, None when it
    has ended; ``bootstrap`` how far the service and the client tor have come, 0 to 100. ``removed`` is the directory
    of a network whose keeper was killed, and which was cleaned up now; ``logs`` where tor's logs are kept.
    """

    phase: str
    network: Network | None = None
    keeper_pid: int | None = None
    tors: dict[str, int | None] = field(default_factory=dict)
    bootstrap: dict[str, int] = field(default_factory=dict)
    removed: Path | None = None
    logs: Path | None = None


def status(state_file: Path | None = None) -> Status:
    """Look what there is, and clean up after a keeper that was killed."""
    path = state_file or state.default_path()
    left_behind = state.StateFile.claim(path, create=False)
    if left_behind is not None:
        return _clean_up(left_behind)
    return _read(state.read(path))


def _clean_up(left_behind: state.StateFile) -> Status:
    content = left_behind.read()
    try:
        directory = Path(content["directory"]) if "directory" in content else None
        removed = directory if directory is not None and state.remove_network(directory) else None
    finally:
        left_behind.remove()
    return Status("down", removed=removed, logs=removed if content.get("keep_logs") else None)


def _read(content: dict[str, Any]) -> Status:
    if not content:
        return Status("down")
    network = Network.from_json(content["network"]) if "network" in content else None
    directory = Path(content["directory"]) if "directory" in content else None
    return Status(
        content["phase"],
        network=network,
        keeper_pid=content["keeper_pid"],
        tors=content.get("tors", {}),
        bootstrap=_read_bootstrap(directory) if directory is not None else {},
        logs=directory if content.get("keep_logs") else None,
    )


def _read_bootstrap(directory: Path) -> dict[str, int]:
    found = {}
    for name in (plan.SERVICE, plan.CLIENT):
        log = torlog.Follower(directory / name / plan.LOG)
        log.read()
        found[name] = log.bootstrap.percent
    return found


def up(
    *,
    progress: Progress = silent,
    relays: int = plan.DEFAULT_RELAYS,
    keep_logs: bool = False,
    state_file: Path | None = None,
) -> tuple[Network, bool]:
    """Bring up a network that stays; give it, and whether it is new rather than one that was up already.

    Raises NoTor and TestnetFailed. Interrupted, it leaves nothing.
    """
    path = state_file or state.default_path()
    deadline = time.monotonic() + _UP_TIMEOUT
    while True:
        seen = status(path)
        if seen.phase == state.UP and seen.network is not None:
            return seen.network, False
        if seen.phase == "down":
            with (
                contextlib.suppress(Busy),
                Keeper(progress=progress, relays=relays, keep_logs=keep_logs, state_file=path) as keeper,
            ):
                keeper.detach()
                return keeper.network, True
        if time.monotonic() > deadline:
            raise TestnetFailed(f"another keeper (process {seen.keeper_pid}) has held it {seen.phase} for too long")
        progress(0, f"waiting for process {seen.keeper_pid}: {seen.phase}")
        time.sleep(_POLL)


def down(state_file: Path | None = None) -> Status:
    """Take the network down, and wait until nothing is left of it; give what there was before.

    Raises TestnetFailed when its keeper neither ends nor can be killed.
    """
    path = state_file or state.default_path()
    before = status(path)
    if before.keeper_pid is None:
        return before
    pid = before.keeper_pid

    def gone() -> bool:
        return status(path).keeper_pid != pid

    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal_keeper(pid, number)
        if _wait(gone, _DOWN_TIMEOUT):
            return before
    raise TestnetFailed(f"its keeper (process {pid}) does not end")


def _signal_keeper(pid: int, number: signal.Signals) -> None:
    """Send a signal to a keeper, and to nothing else that may have its process id by now."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        process = os.pidfd_open(pid)
        try:
            if _KEEPER in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(process, number)
        finally:
            os.close(process)


def _wait(reached: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
