"""Start a keeper and hold on to it: the parent's end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from onion_rdv import errors
from onion_rdv.tor.progress import Progress, silent
from onion_rdv.tor.testnet import again, plan, state
from onion_rdv.tor.testnet.network import Network

if TYPE_CHECKING:
    from types import TracebackType

_END_TIMEOUT = 15.0  # seconds that a keeper has to tidy up; it needs less than one


class Busy(Exception):
    """Another keeper holds the state file."""


class Keeper:
    """A keeper whose network ends with the ``with`` block, or with this process, however it ends.

    ``relays`` counts those that are no authorities; ``base`` is where the network gets its directory (by default the
    system's place for temporary files); ``keep_logs`` leaves tor's logs there; ``timeout`` is how long it may take to
    come up, in seconds. Entering raises NoTor where tor or tor-gencert is missing, and TestnetFailed.
    """

    def __init__(
        self,
        *,
        progress: Progress = silent,
        relays: int = plan.DEFAULT_RELAYS,
        timeout: float = plan.BOOT_TIMEOUT,
        base: Path | None = None,
        keep_logs: bool = False,
        state_file: Path | None = None,
    ) -> None:
        self._progress = progress
        self._options = ["--relays", str(relays), "--timeout", str(timeout)]
        if base is not None:
            self._options += ["--base", str(base)]
        if keep_logs:
            self._options += ["--keep-logs"]
        if state_file is not None:
            self._options += ["--state", str(state_file)]
        self._directory: Path | None = None
        self._detached = False

    def __enter__(self) -> Self:
        self._stderr = tempfile.TemporaryFile()
        try:
            self._process = self._launch()
        except BaseException:
            self._stderr.close()
            raise
        try:
            up = self._await("up")
        except BaseException:
            self._end()
            raise
        self.network = Network.from_json(up["network"])
        return self

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*again.command("onion_rdv.tor.testnet.keeper"), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
            env=os.environ | again.search_path(),
        )

    def stop_tor(self, name: str = plan.SERVICE) -> None:
        """End one tor of the network, and wait until it has ended."""
        self._command("stop", "stopped", name=name)

    def start_tor(self, name: str = plan.SERVICE) -> None:
        """Start a tor that was stopped, same ports, same directory, and wait until it has bootstrapped."""
        self._command("start", "started", name=name)

    def restart_tor(self, name: str = plan.SERVICE) -> None:
        """Stop and start one tor of the network."""
        self.stop_tor(name)
        self.start_tor(name)

    def detach(self) -> None:
        """Let the network stay up without this process."""
        self._send({"do": "detach"})
        self._await("detached")
        self._detached = True

    def _command(self, do: str, answer: str, *, name: str) -> None:
        self._send({"do": do, "name": name})
        self._await(answer)

    def _send(self, command: dict[str, Any]) -> None:
        if self._process.stdin is None:  # pragma: no cover
            raise AssertionError
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise errors.TestnetFailed("its keeper has ended") from None

    def _await(self, wanted: str) -> dict[str, Any]:
        """Read events up to the wanted one; raise what the keeper reports as a failure."""
        if self._process.stdout is None:  # pragma: no cover
            raise AssertionError
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            match event["event"]:
                case "progress":
                    self._progress(event["percent"], event["what"])
                case "directory":
                    self._directory = Path(event["path"])
                case "failed":
                    kind: type[errors.RdvError] = getattr(errors, event["kind"])
                    raise kind(event["detail"], hint=event["hint"])
                case "busy":
                    raise Busy
                case "ended":
                    raise errors.TestnetFailed("it was taken down meanwhile")
            if event["event"] == wanted:
                return event
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        raise errors.TestnetFailed(f"its keeper has ended: {said[-1] if said else 'it was killed'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        try:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # a command that a dead keeper did not take
                        pipe.close()
            if self._detached:
                self._process.returncode = 0  # it is not ours to reap any more
                return
            try:
                self._process.wait(_END_TIMEOUT)
            finally:
                self._process.kill()
                self._process.wait()
                if self._directory is not None:
                    state.remove_network(self._directory)
        finally:
            self._stderr.close()
