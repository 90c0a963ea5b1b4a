"""Run the parts of the measurements one after the other: a part that fails, or never ends, is not the end of all."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rows import NOT_MEASURED, Measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

PATIENCE = 3.0
"""How many times as long as it should a part may take, and a minute."""

LIMIT = 600.0
"""Seconds that all of it may take."""

BOOTING = 25.0
"""Seconds that a private Tor network takes to boot and to end, about."""


class Overdue(KeyboardInterrupt):
    """A part takes far too long: it is ended as Ctrl-C would end it, so it leaves no process behind either."""


@dataclass(frozen=True)
class Part:
    """Measurements that belong together; ``measure`` is given the private Tor network if it is ``on_network``."""

    name: str
    seconds: float
    """How long it takes, about."""
    measure: Callable[..., Measured]
    on_network: bool = False


@dataclass
class Run:
    """What came of the parts, in their order."""

    begun: float = field(default_factory=time.monotonic)
    """When, by the monotonic clock."""
    took: float = 0.0
    """Seconds from there to the end, with everything that belongs to no part."""
    measured: dict[str, Measured] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether all was measured in less than :data:`LIMIT`, and keeps its bound."""
        is_complete = not self.failed and self.took < LIMIT
        return is_complete and all(found.holds for found in self.measured.values())

    def end(self) -> None:
        """Note that this is the end."""
        self.took = time.monotonic() - self.begun


def choose(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    """Give the parts with these names, or all. Raise ValueError for a name that no part has."""
    known = {part.name for part in parts}
    for name in names:
        if name not in known:
            raise ValueError(f"no part is named {name!r}: there are {', '.join(part.name for part in parts)}")
    return [part for part in parts if not names or part.name in names]


def run(parts: Sequence[Part], network: Callable[[], AbstractContextManager[Any]], result: Run | None = None) -> Run:
    """Run the parts; those that want the private Tor network come last, and share one.

    ``result`` is a run that has begun already, to which they belong.
    """
    result = result or Run()
    alone = [part for part in parts if not part.on_network]
    together = [part for part in parts if part.on_network]
    left = [*alone, *together]
    for part in alone:
        _run_one(part, left, result)
    if together:
        _say(f"booting a private Tor network, some {BOOTING:.0f} s")
        with contextlib.ExitStack() as running:
            try:
                given = running.enter_context(network())
            except Exception as error:  # noqa: BLE001  # whatever it is, the other parts' results are wanted
                traceback.print_exc()
                for part in together:
                    _fail(part, f"the private Tor network did not start: {error!r}", result)
            else:
                for part in together:
                    _run_one(part, left, result, given)
    return result


def _run_one(part: Part, parts: Sequence[Part], result: Run, *given: Any) -> None:
    number = parts.index(part)
    to_go = sum(other.seconds for other in parts[number:])
    _say(f"{number + 1} of {len(parts)}: {part.name}, some {part.seconds:.0f} s; {to_go:.0f} s to go")
    begun = time.monotonic()
    try:
        with at_most(60 + PATIENCE * part.seconds):
            result.measured[part.name] = part.measure(*given)
    except Overdue:
        _fail(part, f"it was not done after {time.monotonic() - begun:.0f} s", result)
    except Exception as error:  # noqa: BLE001  # a peer that does not start, for one
        traceback.print_exc()
        _fail(part, repr(error), result)
    result.seconds[part.name] = time.monotonic() - begun


def _fail(part: Part, why: str, result: Run) -> None:
    _say(f"{part.name} failed: {why}")
    result.failed.append(part.name)
    result.measured[part.name] = Measured([], [f"{NOT_MEASURED}{part.name}, which failed: {why}"])


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise :class:`Overdue` in the main thread if the block takes longer."""

    def overdue(*_: object) -> None:
        raise Overdue

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def times(seconds: Mapping[str, float]) -> str:
    """Give how long each part took, in one line."""
    each = ", ".join(f"{name} {took:.0f} s" for name, took in seconds.items())
    return f"{each}; together {sum(seconds.values()):.0f} s"


def whole(took: float) -> str:
    """Give how long the run took, and whether that is too long."""
    return f"{took:.0f} s{'' if took < LIMIT else f', and {LIMIT:.0f} s are too long'}"
