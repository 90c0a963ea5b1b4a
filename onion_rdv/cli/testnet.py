"""``onion-rdv testnet``: a private Tor network on this machine, for trying things out and for tests."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.terminal import ProgressBar, complain, emit, emit_json, say, warn
from onion_rdv.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.testnet import Network, Status

_TITLE = "private Tor network"
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_KEEP_LOGS = click.option("--keep-logs", is_flag=True, help="Keep tor's logs when the network ends.")


@click.group()
def testnet() -> None:
    """Run a private Tor network on this machine.

    Real tor processes on 127.0.0.1, up in some 18 seconds; nothing of it touches the public Tor network.
    """


@testnet.command()
@_KEEP_LOGS
@_AS_JSON
def up(keep_logs: bool, as_json: bool) -> None:
    """Bring the network up; it stays until testnet down.

    Prints the variables that make onion-rdv use it: eval "$(onion-rdv testnet up)"
    """
    from onion_rdv.tor import testnet as library

    with ProgressBar(_TITLE) as progress:
        network, is_new = library.up(progress=progress, keep_logs=keep_logs)
    say("the private Tor network is up" if is_new else "the private Tor network was up already")
    if as_json:
        emit_json(_describe(library.status()))
        return
    say('to use it in this shell: eval "$(onion-rdv testnet up)"; to end it: onion-rdv testnet down')
    for name, value in network.environment().items():
        emit(f"export {name}={shlex.quote(value)}")


@testnet.command()
@_AS_JSON
def down(as_json: bool) -> None:
    """End the network and remove everything of it."""
    from onion_rdv.tor import testnet as library

    before = library.down()
    was_up = before.keeper_pid is not None
    if as_json:
        emit_json({"was_up": was_up, "removed": _path(before.removed), "logs": _path(before.logs)})
        return
    _tell_removed(before)
    if was_up:
        say("the private Tor network is down")
    elif before.removed is None:
        say("no private Tor network is up")
    if before.logs is not None:
        say(f"tor's logs are in {before.logs}")


@testnet.command()
@_AS_JSON
def status(as_json: bool) -> None:
    """Say whether the network is up, and where its parts are."""
    from onion_rdv.tor import testnet as library

    seen = library.status()
    if as_json:
        emit_json(_describe(seen))
        return
    _tell_removed(seen)
    emit(seen.phase)
    if seen.network is not None:
        for what, value in _addresses(seen.network).items():
            emit(f"{what:<16} {value}")
    for name, pid in seen.tors.items():
        state = "has ended" if pid is None else f"process {pid}"
        percent = f", bootstrapped {seen.bootstrap[name]}%" if name in seen.bootstrap else ""
        emit(f"tor {name:<12} {state}{percent}")


@testnet.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_KEEP_LOGS
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], keep_logs: bool) -> int:
    """Run a COMMAND with the network: with the one that is up, or else one just for it.

    onion-rdv commands inside use the network by themselves. Ends with the command's own exit code.
    """
    from onion_rdv.tor import testnet as library

    if shutil.which(command[0]) is None:  # before there is anything to wait for
        return _complain_unrunnable(command[0], "not found, or not executable", 127)
    seen = library.status()
    _tell_removed(seen)
    if seen.phase == "up" and seen.network is not None:
        return _run(command, seen.network.environment())
    with ExitStack() as ending:
        with ProgressBar(_TITLE) as progress:
            keeper = ending.enter_context(library.Keeper(progress=progress, keep_logs=keep_logs))
        if keep_logs:
            ending.callback(say, f"tor's logs are in {keeper.network.directory}")
        return _run(command, keeper.network.environment())


def _run(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """Run a command in the foreground; give its exit code, or 128 and the signal that ended it, as a shell does."""
    import subprocess

    # Ctrl-C reaches the command by itself, for a terminal sends it to both; what it means is the command's to say.
    # A handler, unlike SIG_IGN, is not handed on to the command.
    interrupting = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        child = subprocess.Popen(command, env=os.environ | environment)
    except OSError as error:
        return _complain_unrunnable(command[0], error.strerror or "cannot be run", 126)
    else:
        others = {
            number: signal.signal(number, lambda number, _frame: child.send_signal(number))
            for number in (signal.SIGTERM, signal.SIGHUP)
        }
        code = child.wait()
        for number, handler in others.items():
            signal.signal(number, handler)
        return code if code >= 0 else 128 - code
    finally:
        signal.signal(signal.SIGINT, interrupting)


def _complain_unrunnable(program: str, reason: str, code: int) -> int:
    """Give 127 or 126 as a shell does, so that they are not taken for an exit code of onion-rdv."""
    complain(UsageError(f"{program}: {reason}", hint="name a program on PATH, or its path"))
    return code


def _tell_removed(seen: Status) -> None:
    if seen.removed is not None:
        warn(f"its keeper was killed; what it had left in {seen.removed} is removed now")


def _addresses(network: Network) -> dict[str, str]:
    return {
        "client socks": network.client_socks,
        "client control": network.client_control,
        "service control": network.service_control,
        "torrc to join": str(network.torrc),
        "keeper": f"process {network.keeper_pid}",
    }


def _describe(seen: Status) -> dict[str, Any]:
    network = seen.network
    return {
        "phase": seen.phase,
        "network": None if network is None else network.to_json(),
        "environment": {} if network is None else network.environment(),
        "keeper_pid": seen.keeper_pid,
        "tors": seen.tors,
        "bootstrap": seen.bootstrap,
        "removed": _path(seen.removed),
        "logs": _path(seen.logs),
    }


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
