"""The picture of a rendezvous shows every phase where and as long as it was, and says it in words, too."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from timeline import LANES, Phase, draw

SVG = "{http://www.w3.org/2000/svg}"

OFFER = [
    Phase("tor", "tor", "circuit & stream", 0.5, 1.5),
    Phase("initiator", "start", "start of the program", 0.0, 0.5),
    Phase("server", "server", "store", 1.5, 1.501),
]
ACCEPT = [Phase("acceptor", "argon2id", "keys for the entry", 0.0, 0.25)]


def bars(picture: ET.Element) -> dict[str, dict[str, float]]:
    """Give each bar's place by its title."""
    return {
        title.text or "": {name: float(bar.attrib[name]) for name in ("x", "y", "width", "height")}
        for bar in picture.iter(f"{SVG}rect")
        if (title := bar.find(f"{SVG}title")) is not None
    }


def test_bars_are_as_long_as_their_phases_and_in_the_lanes_of_who_is_at_work() -> None:
    picture = ET.fromstring(draw(OFFER, ACCEPT, "recorded"))  # noqa: S314  # it is our own
    start, tor, store, keys = bars(picture).values()  # in the order of their numbers
    assert tor["width"] == pytest.approx(2 * start["width"], abs=0.2)
    assert keys["width"] == pytest.approx(start["width"] / 2, abs=0.2)
    assert start["x"] + start["width"] == pytest.approx(tor["x"], abs=0.2)
    assert store["width"] > 1  # however short, it is seen
    assert start["y"] < tor["y"] < store["y"] < keys["y"]
    assert keys["x"] > store["x"] + store["width"]
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    assert all(bar["x"] + bar["width"] <= width for bar in (start, tor, store, keys))
    assert all(float(text.attrib["y"]) < height for text in picture.iter(f"{SVG}text"))


def test_every_phase_is_said_in_words() -> None:
    picture = ET.fromstring(draw(OFFER, ACCEPT, "recorded & drawn"))  # noqa: S314
    texts = {text.text for text in picture.iter(f"{SVG}text")}
    assert {"1  start of the program: 0.50 s", "2  circuit & stream: 1.00 s", "3  store: 1.0 ms"} <= texts
    assert {"4  keys for the entry: 0.25 s", "recorded & drawn", *LANES.values()} <= texts
    description = picture.findtext(f"{SVG}desc") or ""
    assert all(f"{phase.words}, {phase.took}" in description for phase in [*OFFER, *ACCEPT])
    assert picture.attrib["role"] == "img"
