"""Draw curves: reads them as JSON on stdin (rows.Curve), and writes an SVG for each into the directory that is named.

A script of its own, for the environment that has matplotlib. The same curves give the same bytes; text stays text.
"""

from __future__ import annotations

import io
import json
import sys
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rows import Curve

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator

STYLES = (
    ("#6a3a83", "o", "-"),
    ("#b35900", "s", "--"),
    ("#11706a", "^", "-."),
    ("#424a53", "D", ":"),
    ("#a3195b", "v", (0, (5, 1))),
    ("#1f5fa8", "P", (0, (3, 1, 1, 1))),
)
"""For the first line, the second …: they differ in colour, mark and dashes, so that colour is never all."""

OURS = "onion-rdv"
POINTS = 72  # to the inch
LEFT, PLOT, HEIGHT = 64, 400, 324
A_LETTER = 7.2  # of a line's name, which stands to the right of the plot

INK, PAPER, GRID = "#1f2328", "#ffffff", "#d8dee4"  # the paper is drawn: readable where the page is dark, too

mpl.rcParams.update(
    {
        "svg.hashsalt": "onion-rdv",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 11,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def draw(curve: Curve, path: Path) -> None:
    """Draw one, with the name of each line at its end."""
    names = A_LETTER * max(map(len, curve.lines))
    width = LEFT + PLOT + names + 24
    figure, axes = plt.subplots(figsize=(width / POINTS, HEIGHT / POINTS))
    ends = []
    lines = sorted(curve.lines, key=lambda name: name != OURS)  # the same style in every picture
    for name, (colour, mark, dashes) in zip(lines, STYLES * len(lines), strict=False):
        xs, ys = zip(*sorted(curve.lines[name]), strict=True)
        axes.plot(xs, ys, color=colour, marker=mark, linestyle=dashes, linewidth=2, markersize=6)
        ends.append((name, colour, xs[-1], ys[-1]))
    axes.set_title(curve.title, loc="left", fontsize=13, fontweight="bold")
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if curve.logarithmic:
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(sorted({x for points in curve.lines.values() for x, _ in points}), minor=False)
        axes.set_ylim(axes.get_ylim()[0] / 2, 2 * axes.get_ylim()[1])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
    else:
        axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    figure.subplots_adjust(left=LEFT / width, right=(LEFT + PLOT) / width, top=0.9, bottom=0.13)
    name_lines(axes, ends)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": curve.title})
    plt.close(figure)
    path.write_text(drawn.getvalue().replace("</title>", f"</title>\n <desc>{escape(described(curve))}</desc>", 1))


def name_lines(axes: Any, ends: list[tuple[str, str, float, float]]) -> None:
    """Write each line's name beside its end, the lowest first and each clear of the one below."""
    axes.figure.canvas.draw()
    lowest = -1e9
    for name, colour, x, y in sorted(ends, key=lambda end: end[3]):
        across, up = axes.transData.transform((x, y))
        up = lowest = max(up, lowest + 17)
        right = axes.bbox.x1 + 8
        axes.annotate(
            name,
            xy=(across, up),
            xytext=(right, up),
            xycoords="figure pixels",
            color=colour,
            fontweight="bold",
            va="center",
            annotation_clip=False,
        )


def described(curve: Curve) -> str:
    """Say in words what the picture shows, for whoever does not see it."""
    lines = (
        f"{name}: " + ", ".join(f"{y:.4g} at {x:,.10g}" for x, y in sorted(points))
        for name, points in curve.lines.items()
    )
    return f"{curve.y}, by {curve.x}. " + "; ".join(lines)


if __name__ == "__main__":
    for given in json.load(sys.stdin):
        one = Curve(**given)
        draw(one, Path(sys.argv[1]) / f"{one.name}.svg")
