"""Where a value stands in a TOML text, however the text is written."""

from __future__ import annotations

import pytest

from onion_rdv.cli.toml_lines import find_line

TEXT = '''\
# first = 1
first = 1  # not second = 2

"second" = """
third = 3
# and more """
third.inner = [
  "a", "b",  # "c"
  # "x",

  "c",
  """
d""", 'e'
]
[ table ]
first = { deep = 1 }
# first
[table.below]

last = [ "a",
  "b" ]
[[lists]]
name = 1
[[lists]]
name = 2'''


@pytest.mark.parametrize(
    ("keys", "place", "line"),
    [
        (["first"], None, 2),
        (["second"], None, 4),
        (["third", "inner"], None, 7),
        (["third", "inner"], 0, 8),
        (["third", "inner"], 1, 8),
        (["third", "inner"], 2, 11),
        (["third", "inner"], 3, 13),
        (["third", "inner"], 4, 13),
        (["table"], None, 15),
        (["table", "first"], None, 16),
        (["table", "first", "deep"], None, 16),
        (["table", "below", "last"], None, 20),
        (["table", "below", "last"], 0, 20),
        (["table", "below", "last"], 1, 21),
        (["lists"], None, 22),
    ],
)
def test_lines(keys: list[str], place: int | None, line: int) -> None:
    assert find_line(TEXT, keys, place) == line
