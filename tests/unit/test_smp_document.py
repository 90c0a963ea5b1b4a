"""docs/smp.md says what the code does: its sections, its sizes, and its table of errors."""

from __future__ import annotations

import re

import pytest
from protocol_material import ROOT

from onion_rdv import errors
from onion_rdv.smp.client import refusals
from onion_rdv.smp.wire import blocks, commands, envelopes, link_data, replies
from onion_rdv.smp.wire.crypto import TAG_SIZE
from onion_rdv.smp.wire.encoding import Versions
from onion_rdv.smp.wire.hello import VERSIONS
from onion_rdv.smp.wire.keys import Kind

DOCUMENT = (ROOT / "docs" / "smp.md").read_text()
HEADINGS = set(re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE))


def section(heading: str) -> str:
    return DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_the_sections_that_docstrings_name_are_there() -> None:
    named = {
        heading
        for path in (ROOT / "onion_rdv").rglob("*.py")
        for heading in re.findall(r'docs/smp\.md,\s+"([^"]+)"', path.read_text())
    }
    assert named
    assert named <= HEADINGS


@pytest.mark.parametrize(
    ("heading", "number"),
    [
        ("Blocks", blocks.BLOCK_SIZE),
        ("Blocks", blocks.MAX_BLOCK_DATA),
        ("Commands", commands.MAX_BODY_SIZE),
        ("Commands", envelopes.DELIVERY_SIZE),
        ("Messages", envelopes.DELIVERY_SIZE),
        ("Messages", envelopes.MAX_MESSAGE_SIZE),
        ("Link data", link_data.FIXED_SIZE),
        ("Link data", link_data.USER_SIZE),
        ("Link data", link_data.FIXED_SIZE + 24 + TAG_SIZE),
        ("Link data", link_data.USER_SIZE + 24 + TAG_SIZE),
    ],
)
def test_sizes_are_those_of_the_code(heading: str, number: int) -> None:
    assert f"{number:,}" in section(heading)


def test_versions_and_kinds_of_keys_are_those_of_the_code() -> None:
    assert Versions(15, 18) == VERSIONS
    assert "in versions 15 to 18" in DOCUMENT
    sizes = {kind.title: 12 + kind.size for kind in Kind}
    assert sizes == {"Ed25519": 44, "X25519": 44, "X448": 68}
    assert "44 bytes for Ed25519 and X25519, 68 for X448" in section("Encodings")


def test_every_command_and_answer_is_in_the_tables() -> None:
    told = set(re.findall(r"`([A-Z]{2,4})\b ?`", section("Commands").split("### Refusals")[0]))
    spoken = {kind.TAG.decode() for union in (commands.Command, replies.Reply) for kind in union.__args__}
    assert spoken <= told


def test_errors_have_the_words_and_exit_codes_of_the_code() -> None:
    table = rows(section("Commands").split("### Refusals")[1])[2:]
    exit_codes = {error().message: str(error.exit_code) for error in vars(errors).values() if _is_error(error)}
    assert table
    assert {words: exit_codes.get(words) for _, words, _ in table} == {words: code for _, words, code in table}


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, errors.RdvError)


def test_every_refusal_that_has_words_is_told() -> None:
    told = section("Commands").split("### Refusals")[1]
    for code in (*refusals._MEANINGS, "AUTH", "BLOCKED", "QUOTA"):
        assert re.search(rf"\b{code}\b", told)
        assert isinstance(refusals.refusal(code), errors.MessagingRefused)
