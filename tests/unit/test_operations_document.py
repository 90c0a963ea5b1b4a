"""docs/operations.md: the messages that it explains are the program's, and its limits the settings' defaults."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from onion_rdv.cli.main import cli
from onion_rdv.cli.settings import SERVE, settings_of

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()


def table(heading: str) -> list[list[str]]:
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


def said_by_the_program() -> str:
    """Give the program's texts and click's, with what is broken over lines in one piece."""
    sources = [*(ROOT / "onion_rdv").rglob("*.py"), Path(click.types.__file__)]
    text = "\n".join(source.read_text() for source in sources)
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("message", [row[0] for row in table("Faults")])
def test_each_fault_is_in_the_programs_words(message: str) -> None:
    phrases = re.findall("`(.+?)`", message)
    assert phrases
    for phrase in phrases:
        assert phrase in said_by_the_program() or (ROOT / "onion_rdv" / phrase).name == "buckets.sqlite"


def test_the_limits_are_the_settings() -> None:
    presets = {setting.name: setting.preset for setting in settings_of(cli) if setting.table == SERVE}
    for name, default, *_ in table("Limits"):
        assert float(re.sub(r"[^0-9]", "", default)) == presets[name.strip("`")]
