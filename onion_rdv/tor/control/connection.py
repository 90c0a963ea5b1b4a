"""A control connection that was let in: commands and events for the event loop."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

import stem
from stem.version import Version

from onion_rdv.errors import CommandRefused, ControlLost
from onion_rdv.tor.torlog import Bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from onion_rdv.tor.control.wire import Wire
    from onion_rdv.tor.control_address import ControlAddress

RECOMMENDED_TOR = Version("0.4.9.11")
"""Older releases let a rendezvous point impersonate the onion service."""

REPLY_SECONDS = 30
"""Tor answers within milliseconds; what is silent for so long has hung."""

_PERCENT = re.compile(r"\bPROGRESS=(\d{1,3})\b")
_SUMMARY = re.compile(r'\bSUMMARY="((?:[^"\\]|\\.)*)"')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Reply(NamedTuple):
    """Tor's answer to a command (control-spec, section "Replies from Tor to the controller").

    ``code`` is that of the last line; ``lines`` are the texts behind the codes, a data block joined by newlines.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether tor did what it was told."""
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        """What tor says for a person, with the code."""
        return f"{self.code} {self.lines[-1]}"


class Event(NamedTuple):
    """An asynchronous event: its keyword (``HS_DESC``) and everything after it."""

    kind: str
    text: str


def read_bootstrap(text: str) -> Bootstrap | None:
    """Read the text of a ``BOOTSTRAP`` status (control-spec, section "Client status"); None when it is another."""
    percent = _PERCENT.search(text)
    if "BOOTSTRAP" not in text or percent is None:
        return None
    summary = _SUMMARY.search(text)
    said = summary[1] if summary else ""
    return Bootstrap(int(percent[1]), said[:1].lower() + said[1:])


class Control:
    """An open, authenticated control connection; an async context manager that closes it.

    ``address`` is where it leads. ``closed`` is set when the connection has ended, whoever ended it. Everything
    that asks tor something raises :class:`~onion_rdv.errors.ControlLost` when the connection breaks, or when
    tor is silent for 30 seconds, and is then closed.
    """

    def __init__(self, wire: Wire, address: ControlAddress) -> None:
        self.address = address
        self.closed = asyncio.Event()
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[Callable[[Event], None], tuple[str, ...]] = {}
        self._listening = asyncio.Lock()
        wire.on_event = self._event_in_thread
        wire.on_end = self._end_in_thread
        if not wire.is_alive():
            self.closed.set()

    def _event_in_thread(self, kind: str, text: str) -> None:
        with suppress(RuntimeError):  # the loop has ended before the connection
            self._loop.call_soon_threadsafe(self._tell, Event(kind, text))

    def _end_in_thread(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.closed.set)

    def _tell(self, event: Event) -> None:
        for listener, kinds in tuple(self._listeners.items()):
            if event.kind in kinds:
                listener(event)

    async def msg(self, line: str) -> Reply:
        """Send one command line of printable ASCII, without its line end, and wait for the reply, good or bad."""
        if not (line.isascii() and line.isprintable()):
            raise ValueError("a command to tor is one line of printable ASCII")
        try:
            async with asyncio.timeout(REPLY_SECONDS):  # wait_for can swallow a cancellation (Python 3.11)
                message = await asyncio.to_thread(self._wire.msg, line)
        except TimeoutError:
            await self.close()
            raise ControlLost(f"tor at {self.address} did not answer for {REPLY_SECONDS} seconds") from None
        except stem.ControllerError as error:
            await self.close()
            raise ControlLost(str(self.address)) from error
        content = message.content()
        return Reply(int(content[-1][0]), tuple(text for _, _, text in content))

    async def ask(self, line: str) -> Reply:
        """Send a command that tor should accept; raises :class:`~onion_rdv.errors.CommandRefused` otherwise."""
        reply = await self.msg(line)
        if not reply.ok:
            raise CommandRefused(f"{line.split(maxsplit=1)[0]}: {reply.text}")
        return reply

    async def info(self, key: str) -> str:
        """GETINFO of one key; raises :class:`~onion_rdv.errors.CommandRefused` when tor has no such information."""
        reply = await self.ask(f"GETINFO {key}")
        return reply.lines[0].removeprefix(f"{key}=").removeprefix("\n")

    async def conf(self, option: str) -> list[tuple[str, str]]:
        """GETCONF of one option, or one group of options, as (name, value) in tor's order.

        Values stand as tor sends them: in quotes, with C escapes, where they need it. Options that are not set
        are left out. Raises :class:`~onion_rdv.errors.CommandRefused` when tor does not know the option.
        """
        reply = await self.ask(f"GETCONF {option}")
        pairs = (line.partition("=") for line in reply.lines)
        return [(name, value) for name, set_, value in pairs if set_]

    async def version(self) -> Version:
        """Ask for tor's version; versions compare."""
        said = (await self.info("version")).split()[0]
        try:
            return Version(said)
        except ValueError:
            raise CommandRefused(f"GETINFO version: {said!r} is no version of tor") from None

    async def process_uid(self) -> int | None:
        """Ask which user id tor runs under; None when tor does not say."""
        try:
            return int(await self.info("process/uid"))
        except (CommandRefused, ValueError):
            return None

    async def bootstrap(self) -> Bootstrap:
        """Ask how far tor's start has come."""
        return read_bootstrap(await self.info("status/bootstrap-phase")) or Bootstrap(0, "starting")

    async def socks_listeners(self) -> list[str]:
        """Ask where tor's SOCKS ports listen: ``127.0.0.1:9050``, ``unix:/run/tor/socks``."""
        return _QUOTED.findall(await self.info("net/listeners/socks"))

    async def add_event_listener(self, listener: Callable[[Event], None], *kinds: str) -> None:
        """Call ``listener`` on the event loop for every event of these kinds (``"HS_DESC"``).

        Raises :class:`~onion_rdv.errors.CommandRefused` when tor does not know such an event.
        """
        self._listeners[listener] = kinds
        try:
            await self._set_events()
        except BaseException:
            del self._listeners[listener]
            raise

    async def remove_event_listener(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` no more; harmless when the connection is gone."""
        if self._listeners.pop(listener, None) is not None and not self.closed.is_set():
            with suppress(ControlLost):
                await self._set_events()

    async def _set_events(self) -> None:
        async with self._listening:
            kinds = sorted({kind for kinds in self._listeners.values() for kind in kinds})
            await self.ask(" ".join(["SETEVENTS", *kinds]))

    async def close(self) -> None:
        """Close the connection and wait until its threads have ended."""
        await asyncio.to_thread(self._wire.end)
        self.closed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
