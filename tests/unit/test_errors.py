"""The tree of errors: as it is drawn, with its exit codes, and with words for a person in every class."""

from __future__ import annotations

import re

import pytest

from onion_rdv import errors
from onion_rdv.errors import RdvError

CLASSES: list[type[RdvError]] = [
    value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
]

EXIT_CODES = {
    "RdvError": 70,
    "UsageError": 2,
    "NoTor": 3,
    "ServerUnreachable": 4,
    "BucketUnknown": 5,
    "NoEntryOpens": 6,
    "ServerCheckFailed": 7,
    "MessagingServerUnreachable": 8,
    "MessagingCheckFailed": 7,
    "TalkBroken": 7,
    "TalkCutShort": 8,
    "StreamFailed": 4,
    "StoreError": 9,
    "MalformedRequest": 70,
    "NobodyReads": 141,
}


def drawn() -> dict[str, tuple[str | None, int | None]]:
    """Read the drawing: for each class its parent, and its exit code where one stands beside it."""
    path: list[str] = []
    tree: dict[str, tuple[str | None, int | None]] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r" {4}([ │├└─]*)([A-Za-z]+)(?: +([0-9]+))?", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            tree[found[2]] = (path[depth - 1] if depth else None, int(found[3]) if found[3] else None)
    return tree


def test_the_tree_is_as_drawn() -> None:
    real = {one.__name__: None if one is RdvError else one.__mro__[1].__name__ for one in CLASSES}
    assert {name: parent for name, (parent, _) in drawn().items()} == real


def test_exit_codes_are_as_drawn_and_as_settled() -> None:
    assert {name: code for name, (_, code) in drawn().items() if code is not None} == EXIT_CODES
    for one in CLASSES:
        name: str | None = one.__name__
        while name not in EXIT_CODES:
            assert name is not None
            name = drawn()[name][0]
        assert one.exit_code == EXIT_CODES[name]


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_every_class_has_a_message_and_a_hint_of_its_own(one: type[RdvError]) -> None:
    assert one.__doc__
    plain, detailed = one(), one("the detail", hint="the hint")
    for said in (plain.message, plain.hint):
        assert said
        assert said == said.strip()
        assert said.isprintable()
        assert not said.endswith(".")
        assert said[0].islower() or said.startswith("Tor")
    assert str(plain) == plain.message
    assert plain.hint == one.default_hint
    assert detailed.message == f"{plain.message}: the detail"
    assert (detailed.detail, detailed.hint) == ("the detail", "the hint")
    assert one(hint="").hint == ""


def test_messages_differ() -> None:
    messages = [one().message for one in CLASSES]
    assert len(set(messages)) == len(messages)


def test_only_the_first_paragraph_is_the_message() -> None:
    assert errors.StreamFailed("connection refused", code=5).message == "Tor opened no stream: connection refused"
    assert errors.StreamFailed(code=0xF0).code == 0xF0


def test_what_was_typed_wrongly_is_a_value_error() -> None:
    assert issubclass(errors.UsageError, ValueError)
    assert [
        one.__name__ for one in CLASSES if issubclass(one, ValueError) != issubclass(one, errors.UsageError)
    ] == []
