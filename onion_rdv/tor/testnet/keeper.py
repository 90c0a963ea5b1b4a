"""The keeper: the process that builds a private Tor network, owns its tors, and leaves nothing behind.

Run as ``python -m onion_rdv.tor.testnet.keeper`` by :mod:`onion_rdv.tor.testnet.attach`, in a session of its own, so
that Ctrl-C on a terminal reaches it through its parent only. Whatever ends it, the tors end too: told to (a signal,
the parent's end), it stops them and removes their directory; killed, it takes them along, for the kernel kills them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from onion_rdv.errors import RdvError, TestnetFailed
from onion_rdv.tor.testnet import plan, processes, state
from onion_rdv.tor.testnet.boot import Tors
from onion_rdv.tor.testnet.channel import Channel, Stop
from onion_rdv.tor.testnet.network import Network
from onion_rdv.tor.testnet.ports import ReservedPorts
from onion_rdv.tor.testnet.programs import find_programs
from onion_rdv.tor.testnet.traffic import PAUSE


class _Keeper:
    def __init__(self, channel: Channel, options: argparse.Namespace) -> None:
        self._channel = channel
        self._options = options
        self._state: state.StateFile | None = None
        self._content: dict[str, Any] = {}
        self._reported_dead: set[str] = set()

    def run(self) -> int:
        """Keep a network until it is time to end; give the exit status."""
        failure: RdvError | None = None
        with ExitStack() as ending:
            try:
                if not self._claim(ending):
                    self._channel.tell_last("busy")
                    return 0
                tors = self._build(ending)
                traffic = ending.enter_context(closing(tors.traffic()))
                while True:
                    for command in self._channel.wait(PAUSE):
                        self._obey(command, tors)
                    self._notice_deaths(tors)
                    traffic.step()
            except Stop:
                self._remember(phase=state.ENDING)
            except RdvError as error:
                failure = error
        if failure is not None:
            kind = type(failure).__name__
            self._channel.tell_last("failed", kind=kind, detail=failure.detail, hint=failure.hint)
            return failure.exit_code
        self._channel.tell_last("ended")
        return 0

    def _claim(self, ending: ExitStack) -> bool:
        if self._options.state is None:
            return True
        self._state = state.StateFile.claim(self._options.state, create=True)
        if self._state is None:
            return False
        ending.callback(self._state.remove)
        left_behind = self._state.read().get("directory")
        self._remember(phase=state.STARTING, keeper_pid=os.getpid())
        if left_behind:
            state.remove_network(Path(left_behind))
        return True

    def _remember(self, **changes: Any) -> None:
        if self._state is not None:
            self._content |= changes
            self._state.write(self._content)

    def _build(self, ending: ExitStack) -> Tors:
        programs = find_programs()
        directory = Path(tempfile.mkdtemp(prefix="rdv-testnet-", dir=self._options.base))
        self._remember(directory=str(directory), keep_logs=self._options.keep_logs)
        (directory / state.MARK).touch()
        if self._options.keep_logs:
            (directory / state.LOGS_KEPT).touch()
        ending.callback(state.remove_network, directory)
        self._channel.tell("directory", path=str(directory))
        self._channel.tell("progress", percent=0, what="making the authorities' keys")
        ports = ending.enter_context(ReservedPorts())
        tors = Tors(programs, directory, os.getpid(), self._options.timeout)
        addresses = tors.make(self._channel, ports, self._options.relays)
        ending.callback(lambda: processes.stop(tors.by_name.values()))
        try:
            tors.boot(self._channel)
        except TestnetFailed as failure:
            if self._options.keep_logs:
                failure.hint = f"tor's logs are in {directory}"
            raise
        network = Network(directory=directory, torrc=tors.torrc, keeper_pid=os.getpid(), **addresses)
        self._remember(phase=state.UP, network=network.to_json(), tors=_pids(tors))
        self._channel.tell("up", network=network.to_json(), tors=_pids(tors))
        return tors

    def _obey(self, command: dict[str, Any], tors: Tors) -> None:
        match command["do"]:
            case "detach":
                self._channel.tell("detached")
                self._channel.detach()
            case "stop":
                processes.stop([tors.by_name[command["name"]]])
                self._remember(tors=_pids(tors))
                self._channel.tell("stopped", name=command["name"])
            case "start":
                tors.start_one(self._channel, command["name"])
                self._reported_dead.discard(command["name"])
                self._remember(tors=_pids(tors))
                self._channel.tell("started", name=command["name"])
            case unknown:
                raise TestnetFailed(f"the keeper does not know the command {unknown!r}")

    def _notice_deaths(self, tors: Tors) -> None:
        dead = {tor.name for tor in tors.by_name.values() if tor.died()}
        for name in dead - self._reported_dead:
            self._channel.tell("died", name=name, detail=tors.by_name[name].complaint())
        if dead != self._reported_dead:
            self._reported_dead = dead
            self._remember(tors=_pids(tors))


def _pids(tors: Tors) -> dict[str, int | None]:
    return {name: tor.pid for name, tor in tors.by_name.items()}


def main() -> int:
    """Read the options that the parent gave, and keep a network."""
    parser = argparse.ArgumentParser(prog="keeper")
    parser.add_argument("--relays", type=int, default=plan.DEFAULT_RELAYS)
    parser.add_argument("--timeout", type=float, default=plan.BOOT_TIMEOUT)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--keep-logs", action="store_true")
    os.umask(0o077)
    return _Keeper(Channel(), parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
