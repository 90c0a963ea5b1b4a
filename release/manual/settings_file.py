"""onion-rdv-server.toml(5): every setting of the servers, as the file that is shipped explains it."""

from __future__ import annotations

import re

from release import ROOT
from release.manual import mdoc

_SHIPPED = ROOT / "etc" / "server.toml"

_TABLE = re.compile(r"(\[\w+\])  # (.*)")
_SETTING = re.compile(r"#?(\w+ = .*)")


def page(epoch: int) -> str:
    """Write the page. Raises ValueError where the file has something that is no table, setting or explanation."""
    introduction, *paragraphs = re.split(r"\n{2,}", _SHIPPED.read_text().strip())
    lines = [
        *mdoc.head("onion-rdv-server.toml", 5, epoch),
        *mdoc.name("onion-rdv-server.toml", "settings of the servers of onion-rdv"),
        ".Sh SYNOPSIS",
        ".Pa /etc/onion-rdv/server.toml",
        ".Sh DESCRIPTION",
        *_paragraphs(introduction),
        ".Ss Settings of both servers",
        *_settings(paragraphs),
        ".Sh SEE ALSO",
        ".Xr onion-rdv 1 ,",
        ".Xr torrc 5",
    ]
    return "\n".join(lines) + "\n"


def _paragraphs(comment: str) -> list[str]:
    """Write what a comment says; a line with nothing but its # separates paragraphs."""
    said = "\n".join(line.removeprefix("#").strip() for line in comment.splitlines())
    first, *others = said.split("\n\n")
    return [*mdoc.prose(first), *(line for other in others for line in (".Pp", *mdoc.prose(other)))]


def _settings(paragraphs: list[str]) -> list[str]:
    lines: list[str] = []
    items: list[tuple[str, list[str]]] = []
    for paragraph in paragraphs:
        *comment, last = paragraph.splitlines()
        if table := _TABLE.fullmatch(last):
            lines += [*mdoc.definitions(items), f".Ss {table[1]}: {table[2]}"]
            items = []
        elif setting := _SETTING.fullmatch(last):
            items.append((mdoc.bold(setting[1]), _paragraphs("\n".join(comment))))
        else:
            raise ValueError(f"{_SHIPPED.name}: neither a table nor a setting: {last}")
    return lines + mdoc.definitions(items)
