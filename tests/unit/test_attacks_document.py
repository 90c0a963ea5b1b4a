"""docs/attacks.md names the tests that show what it says: each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
TEXT = (TESTS.parent / "docs" / "attacks.md").read_text()
NAMED = re.compile(r"`((?:tor/|deploy/)?test_\w+\.py)::(\w+)`")


def test_every_test_that_it_names_is_there() -> None:
    named = NAMED.findall(TEXT)
    assert len(named) > 60
    for file, function in named:
        path = TESTS / file if "/" in file else TESTS / "unit" / file
        assert path.exists(), file
        assert re.search(rf"^(?:async )?def {function}\(", path.read_text(), re.MULTILINE), f"{file}::{function}"


def test_every_line_of_a_table_names_one() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.endswith("| shown by |")]
    assert len(lines) > 50
    assert [line for line in lines if not NAMED.search(line)] == []


def test_nothing_that_looks_like_a_test_is_written_in_another_way() -> None:
    assert TEXT.count("::") - 1 == len(NAMED.findall(TEXT))  # the one that says how they are written
