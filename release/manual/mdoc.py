"""The language of man pages, mdoc(7), as far as the pages here need it."""

from __future__ import annotations

import re
import textwrap
import time

_WIDTH = 100


def head(title: str, section: int, epoch: int) -> list[str]:
    """Begin a page that was last changed at a Unix time."""
    day = time.gmtime(epoch)
    return [f".Dd {time.strftime('%B', day)} {day.tm_mday}, {day.tm_year}", f".Dt {title.upper()} {section}", ".Os"]


def name(what: str, description: str) -> list[str]:
    """Write the section that apropos(1) and whatis(1) read."""
    return [".Sh NAME", f".Nm {what}", f".Nd {description}"]


def escape(text: str) -> str:
    r"""Write what could be taken for markup, and the minus signs of options, as themselves."""
    return re.sub(r"(?<![\w-])--?(?=\w)", lambda match: r"\-" * len(match[0]), text.replace("\\", r"\e"))


def prose(text: str) -> list[str]:
    """Write a paragraph; each sentence begins a line, as mdoc wants it."""
    sentences = re.split(r"(?<=[.:?!])\s+(?=[A-Z0-9])", " ".join(text.split()))
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, _WIDTH, break_on_hyphens=False)]
    return [guarded(escape(line)) for line in lines]


def guarded(line: str) -> str:
    r"""Keep a line that begins like a command from being one."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def literal(lines: list[str]) -> list[str]:
    """Show lines as they stand."""
    return [".Bd -literal -offset indent", *(guarded(escape(line)) for line in lines), ".Ed"]


def bold(text: str) -> str:
    """Show something that is typed as it stands."""
    quoted = escape(text).replace('"', r"\(dq")  # which would be taken for the quotation of an argument
    return rf"\fB{quoted}\fR"


def definitions(items: list[tuple[str, list[str]]], *, width: str = "Ds") -> list[str]:
    """List terms, which are marked up already, each with the lines that explain it."""
    listed = [line for term, explained in items for line in (f".It {term}", *explained)]
    return [f".Bl -tag -width {width}", *listed, ".El"] if listed else []
