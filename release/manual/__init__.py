"""The man pages, written from what the commands and the settings file say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release.manual import commands, settings_file

if TYPE_CHECKING:
    from pathlib import Path


def pages(epoch: int) -> dict[str, str]:
    """Give every page's text under its file name."""
    return {"onion-rdv.1": commands.page(epoch), "onion-rdv-server.toml.5": settings_file.page(epoch)}


def write(directory: Path, epoch: int) -> list[Path]:
    """Write every page; gives their paths."""
    made = []
    for name, text in pages(epoch).items():
        made.append(directory / name)
        made[-1].write_text(text)
    return made
