"""docs/scale-out.md: what it says of PostgreSQL's log is what was measured, and what follows."""

from __future__ import annotations

import re

from balanced_service import ROOT

GIB = 2**30


def found(document: str, pattern: str) -> float:
    (text,) = re.findall(pattern, (ROOT / document).read_text())
    return float(text.replace(",", ""))


def test_the_log_of_a_store_and_of_a_day() -> None:
    measured = found("bench/results.md", r"([0-9,]+) bytes of write-ahead log for each store that comes alone")
    for document, pattern in (
        ("docs/scale-out.md", r"([0-9.]+) KB of log"),
        ("docs/stores.md", r"([0-9.]+) KB of write-ahead log a store"),
    ):
        assert found(document, pattern) == round(measured / 1000, 1)
    assert found("docs/scale-out.md", r"log in a day \| ([0-9.]+) GiB") == round(1_000_000 * measured / GIB, 1)
