"""How every server command runs: until it is stopped, telling its operator and the service manager how it is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onion_rdv.cli.own_process import forget_variables
from onion_rdv.cli.terminal import ProgressBar, emit, emit_json, printable, say, warn
from onion_rdv.errors import NoTor, RdvError
from onion_rdv.systemd.journal import Priority, is_journal
from onion_rdv.systemd.notify import ServiceManager
from onion_rdv.systemd.sockets import inherited_listener

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from onion_rdv.tor.onion_service.hosting import Ready
    from onion_rdv.tor.supply import ControlSupply

_MORE_TIME = 60.0
_MORE_TIME_EVERY = 15.0
"""Before the service is published, and all that this takes ends by itself after some minutes, the service manager is
asked for this many seconds, this often."""

_TOR_SECONDS = 60.0
_TOR_PAUSE = 0.25
"""How long the first control connection is waited for, and how often it is tried."""


def run_service(
    load: Callable[[], Callable[..., Awaitable[None]]],
    options: Mapping[str, Any],
    *,
    own_directory: Path,
    check: Callable[[Ready, float], Awaitable[None]],
    for_journal: Callable[[str], str] = str,
) -> None:
    """Run a server until SIGINT or SIGTERM.

    ``load`` gives a service's ``serve`` that has its settings; it may take its time, for it is called in a thread
    while tor is reached, or started. A tor of our own keeps its data in ``own_directory``. ``check`` is given a
    published server and seconds, and raises :class:`~onion_rdv.errors.RdvError` when the server is not well;
    ``for_journal`` takes what is secret out of how clients name the server.
    """
    from onion_rdv.tor.supply import ControlSupply

    manager = ServiceManager.from_environment(os.environ)
    inherited = inherited_listener(os.environ)
    forget_variables()
    if inherited is not None and options["listen"] not in {None, Path(inherited.getsockname())}:
        warn(f"listen is not used: systemd has made the socket {printable(inherited.getsockname())}")

    async def supplied() -> None:
        with ProgressBar("tor") as progress:
            supply = ControlSupply(
                options["control"],
                own_directory=own_directory,
                password_file=options["control_password_file"],
                extra_torrc=options["torrc"],
                progress=progress,
            )
            life = _Life(manager, progress, check, for_journal, as_json=options["as_json"])
            try:
                await life.live(load, supply, inherited=inherited)
            finally:
                await supply.close()

    try:
        asyncio.run(supplied())
    finally:
        if inherited is not None:
            inherited.close()


class _Life:
    """One run of a server."""

    def __init__(
        self,
        manager: ServiceManager,
        progress: ProgressBar,
        check: Callable[[Ready, float], Awaitable[None]],
        for_journal: Callable[[str], str],
        *,
        as_json: bool,
    ) -> None:
        self._manager = manager
        self._progress = progress
        self._check = check
        self._for_journal = for_journal
        self._as_json = as_json
        self._stopping = asyncio.Event()
        self._beside: asyncio.Task[None] | None = None

    async def live(
        self, load: Callable[[], Callable[..., Awaitable[None]]], supply: ControlSupply, **more: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        self._beside = asyncio.create_task(self._ask_for_time())
        try:
            run, _ = await asyncio.gather(asyncio.to_thread(load), self._reach_tor(supply))
            if not self._stopping.is_set():
                await run(
                    supply,
                    stop=self._stopping,
                    on_ready=self._tell_ready,
                    on_state=self._tell_state,
                    progress=self._tell_progress,
                    **more,
                )
        finally:
            self._beside.cancel()
        say("stopped")

    def _stop(self) -> None:
        self._manager.stopping()
        self._stopping.set()

    async def _reach_tor(self, supply: ControlSupply) -> None:
        """Find tor, or have one started.

        Where there is a service manager, the control port is waited for: tor opens it a second after it has told
        systemd that it is ready.
        """
        deadline = time.monotonic() + _TOR_SECONDS
        while not self._stopping.is_set():
            try:
                await (await supply()).close()
            except NoTor as error:
                patient = self._manager.is_there and time.monotonic() <= deadline
                if not patient or type(error) is not NoTor:  # a refusal, for instance, will not pass
                    raise
                self._manager.status(f"waiting for tor: {printable(error.message)}")
                await asyncio.sleep(_TOR_PAUSE)
            else:
                return

    def _tell_progress(self, percent: int, what: str) -> None:
        self._manager.status(f"{percent} % {printable(what)}")
        self._progress(percent, what)

    def _tell_state(self, state: str) -> None:
        self._progress.finish()
        text = f"onion service: {printable(state)}"
        self._manager.status(text)
        say(text, Priority.WARNING if state.startswith("lost") else Priority.INFO)

    def _tell_ready(self, ready: Ready) -> None:
        self._progress.finish()
        for warning in ready.warnings:
            warn(warning)
        if ready.address not in ready.server:
            say(f"its own address, which Onionbalance wants: {ready.address}")
        work = "asks for work under load" if ready.proof_of_work else "has no proof of work"
        say(f"ready; tor {work}. clients name this server so:")
        self._announce(ready)
        self._manager.ready()
        if self._beside is not None:
            self._beside.cancel()
        self._beside = asyncio.create_task(self._show_health(ready))

    def _announce(self, ready: Ready) -> None:
        if is_journal(sys.stdout):
            emit(self._for_journal(ready.server))
        elif self._as_json:
            emit_json(
                {
                    "server": ready.server,
                    "onion_address": ready.address,
                    "port": ready.port,
                    "proof_of_work": ready.proof_of_work,
                }
            )
        else:
            emit(ready.server)
        sys.stdout.flush()

    async def _ask_for_time(self) -> None:
        while True:
            self._manager.extend_timeout(_MORE_TIME)
            await asyncio.sleep(_MORE_TIME_EVERY)

    async def _show_health(self, ready: Ready) -> None:
        """Feed the watchdog for as long as the server is well; a look and a pause take two thirds of its patience."""
        if self._manager.watchdog is None:
            return
        third = self._manager.watchdog / 3
        while True:
            try:
                async with asyncio.timeout(third):
                    await self._check(ready, third)
            except TimeoutError:
                warn(f"this server is not well: it has not answered itself for {third:g} seconds")
            except RdvError as error:
                warn(f"this server is not well: {printable(error.message)}")
            else:
                self._manager.feed_watchdog()
            await asyncio.sleep(third)
