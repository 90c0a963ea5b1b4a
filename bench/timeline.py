"""Draw one rendezvous as a timeline: ``docs/img/rendezvous-timeline.svg``, from times that were recorded.

Two panels with one scale: what happens from ``offer`` to the invite, and from ``accept`` to the link. Each phase is a
bar in the lane of whoever is at work, with a number, and stands below in words with how long it took.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Lane = Literal["initiator", "tor", "server", "acceptor"]
Kind = Literal["start", "argon2id", "tor", "server", "own"]

LANES: dict[Lane, str] = {
    "initiator": "initiator",
    "tor": "Tor network",
    "server": "rendezvous server",
    "acceptor": "acceptor",
}
KINDS: dict[Kind, tuple[str, str]] = {
    "argon2id": ("Argon2id", "#b35900"),
    "tor": ("Tor: circuit and stream", "#7d4698"),
    "server": ("the server's work", "#11706a"),
    "start": ("start of the program", "#57606a"),
    "own": ("all other work", "#1f5fa8"),
}

WIDTH, LEFT, RIGHT = 960, 184, 24
TOP, TRACK, LANE_GAP, BAR_HEIGHT = 96, 44, 14, 20
GAP = 46  # between the panels: how long the invite is under way is up to the people
NARROWEST = 2.5
TICKS, ROOM = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0), 50  # seconds from one tick to the next, and the least room for it
LINE = 19  # of the words below
COLUMNS = 2

SVG = (
    'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc" '
    "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"14\""
)
STYLE = """
    .paper { fill: #ffffff }
    .lane { fill: #f6f8fa }
    .name { font-weight: 600; fill: #1f2328 }
    .text { fill: #424a53; font-size: 13px }
    .axis { stroke: #8c959f; stroke-width: 1 }
    .tick { fill: #57606a; font-size: 12px; text-anchor: middle }
    .pause { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 3 4 }
    .number { font-size: 11px; font-weight: 700; text-anchor: middle; fill: #1f2328 }
"""


@dataclass(frozen=True)
class Phase:
    """Something that took a while: seconds since its command was started."""

    lane: Lane
    kind: Kind
    words: str
    start: float
    end: float

    @property
    def took(self) -> str:
        seconds = self.end - self.start
        return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


class Lanes:
    """Where the lanes are: each is as high as it needs to be for what is in it at the same time."""

    def __init__(self, *commands: Sequence[Phase]) -> None:
        self._track = {id(phase): track for phases in commands for phase, track in tracks(phases)}
        self._top: dict[Lane, float] = {}
        self._height: dict[Lane, float] = {}
        y: float = TOP
        for lane in LANES:
            used = [self._track[id(phase)] for phases in commands for phase in phases if phase.lane == lane]
            self._top[lane] = y
            self._height[lane] = (max(used, default=0) + 1) * TRACK + LANE_GAP
            y += self._height[lane]
        self.bottom = y

    def y(self, phase: Phase) -> float:
        """Give the upper edge of a phase's bar."""
        return self._top[phase.lane] + self._track[id(phase)] * TRACK + 28

    def draw(self) -> Iterator[str]:
        for lane, name in LANES.items():
            y, height = self._top[lane], self._height[lane]
            yield f'<rect class="lane" x="12" y="{y + 3}" width="{WIDTH - 24}" height="{height - 6}" rx="4"/>'
            yield f'<text class="name" x="20" y="{y + height / 2 + 5}">{name}</text>'


def tracks(phases: Sequence[Phase]) -> Iterator[tuple[Phase, int]]:
    """Put what is in one lane at the same time into tracks, one below the other."""
    ends: dict[Lane, list[float]] = {lane: [] for lane in LANES}
    for phase in sorted(phases, key=lambda phase: phase.start):
        lane = ends[phase.lane]
        track = next((number for number, end in enumerate(lane) if end <= phase.start), len(lane))
        lane[track : track + 1] = [phase.end]
        yield phase, track


class Panel:
    """One command's phases, from the left edge ``x`` on."""

    def __init__(self, title: str, phases: Sequence[Phase], lanes: Lanes, x: float, scale: float) -> None:
        self.title = title
        self.phases = sorted(phases, key=lambda phase: (phase.start, -phase.end))
        self._lanes = lanes
        self._x = x
        self._scale = scale
        self._seconds = max(phase.end for phase in phases)
        self.right = self._at(self._seconds)

    def _at(self, seconds: float) -> float:
        return self._x + seconds * self._scale

    def draw(self, first_number: int) -> Iterator[str]:
        bottom = self._lanes.bottom
        yield f'<text class="name" x="{self._x:.1f}" y="{TOP - 12}">{escape(self.title)}</text>'
        yield f'<path class="axis" d="M {self._x:.1f} {bottom} H {self.right:.1f}"/>'
        step = next((step for step in TICKS if step * self._scale >= ROOM), TICKS[-1])
        for tick in range(int(self._seconds / step) + 1):
            x = self._at(tick * step)
            yield f'<path class="axis" d="M {x:.1f} {bottom} v 5"/>'
            yield f'<text class="tick" x="{x:.1f}" y="{bottom + 19}">{tick * step:g} s</text>'
        taken: dict[float, float] = {}
        for number, phase in enumerate(self.phases, first_number):
            yield from self._bar(number, phase, taken)

    def _bar(self, number: int, phase: Phase, taken: dict[float, float]) -> Iterator[str]:
        """Draw a bar with its number, which stands clear of the last one in the same track."""
        name, colour = KINDS[phase.kind]
        x, width = self._at(phase.start), max(NARROWEST, (phase.end - phase.start) * self._scale)
        y = self._lanes.y(phase)
        words = f"{number}. {LANES[phase.lane]}: {phase.words}, {phase.took} ({name})"
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" fill="{colour}">'
        yield f"  <title>{escape(words)}</title></rect>"
        taken[y] = middle = max(x + width / 2, taken.get(y, 0) + 18)
        yield f'<text class="number" x="{middle:.1f}" y="{y - 6}">{number}</text>'


def draw(offer: Sequence[Phase], accept: Sequence[Phase], subtitle: str) -> str:
    """Give the picture as SVG."""
    together = max(phase.end for phase in offer) + max(phase.end for phase in accept)
    scale = (WIDTH - LEFT - RIGHT - GAP) / together
    lanes = Lanes(offer, accept)
    first = Panel("offer", offer, lanes, LEFT, scale)
    second = Panel("accept", accept, lanes, first.right + GAP, scale)
    numbered = list(enumerate([*first.phases, *second.phases], 1))
    below = lanes.bottom + 64
    rows = -(-len(numbered) // COLUMNS)
    height = below + rows * LINE + 44
    lines = [
        f"<svg {SVG.format(width=WIDTH, height=height)}>",
        '<title id="title">One rendezvous as a timeline</title>',
        f'<desc id="desc">{escape(describe(first, second))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="8"/>',
        '<text class="name" x="20" y="32" font-size="16">One rendezvous</text>',
        f'<text class="text" x="20" y="54">{escape(subtitle)}</text>',
        *lanes.draw(),
        *first.draw(1),
        *second.draw(1 + len(first.phases)),
        *pause(first.right + GAP / 2, lanes.bottom),
        *words_below(numbered, below, rows),
        *key(below + rows * LINE + 12),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def pause(x: float, bottom: float) -> Iterator[str]:
    yield f'<path class="pause" d="M {x:.1f} {TOP} V {bottom}"/>'
    yield f'<text class="tick" x="{x:.1f}" y="{bottom + 36}">the invite and the passphrase are passed on</text>'


def words_below(numbered: Sequence[tuple[int, Phase]], y: float, rows: int) -> Iterator[str]:
    for place, (number, phase) in enumerate(numbered):
        column, row = divmod(place, rows)
        x = 20 + column * (WIDTH - 20) / COLUMNS
        at = y + row * LINE
        colour = KINDS[phase.kind][1]
        yield f'<rect x="{x:.1f}" y="{at - 10}" width="10" height="10" rx="2" fill="{colour}"/>'
        yield f'<text class="text" x="{x + 18:.1f}" y="{at}">{number}  {escape(phase.words)}: {phase.took}</text>'


def key(y: float) -> Iterator[str]:
    x = 20.0
    for name, colour in KINDS.values():
        yield f'<rect x="{x:.1f}" y="{y}" width="22" height="12" rx="2" fill="{colour}"/>'
        yield f'<text class="text" x="{x + 28:.1f}" y="{y + 11}">{name}</text>'
        x += 58 + 7 * len(name)


def describe(*panels: Panel) -> str:
    return " ".join(
        f"{panel.title}: "
        + "; ".join(f"{LANES[phase.lane]}, {phase.words}, {phase.took}" for phase in panel.phases)
        + "."
        for panel in panels
    )
