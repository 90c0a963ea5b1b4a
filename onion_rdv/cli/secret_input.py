"""Reading what must not be seen: links, invites and passphrases, from an argument, stdin, a file or a prompt.

Prompts do not echo. An argument can be seen by the machine's other users, if only until it is read here and
overwritten, and stays in the shell's history. It is there for links and invites, and for addresses that can have a
password in them, because people expect it; they are told what is better.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from urllib.parse import unquote

import click

from onion_rdv.cli.terminal import warn
from onion_rdv.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STDIN = "-"
_LIMIT = 8192  # characters; nothing that is read here is nearly as long


def read_secret(argument: str | None, what: str) -> str:
    """Take ``argument``; where it is ``-`` read stdin; where it is missing, ask, or read stdin where nobody is.

    Raises :class:`~onion_rdv.errors.UsageError` where nothing comes.
    """
    if argument is None and sys.stdin.isatty():
        return ask(what)
    text = read_stdin(what) if argument is None or argument == STDIN else read_argument(argument, what)
    if not text.strip():
        raise UsageError(f"the {what} is empty")
    return text.strip()


def read_argument(argument: str, what: str, instead: str = "leave it out, and it is asked for") -> str:
    """Take a secret that was an argument out of others' sight, and say what had seen it by then."""
    from onion_rdv.cli.own_process import hide_argument

    hide_argument(argument)
    _tell_who_saw(f"the {what}", instead)
    return argument


def hide_password(options: Sequence[str], url: str, variable: str) -> None:
    """Do the same where a setting's option, by one of its names, was given a URL with a password in it."""
    if not _has_password(url):
        return
    from onion_rdv.cli.own_process import hide_values

    hide_values(options)
    _tell_who_saw(f"the password in {options[0]}", f"set it in the settings file, or as {variable}")


def _has_password(url: str) -> bool:
    """Tell whether a URL has a password in it, or something that might be meant for one where it is malformed."""
    written = unquote(url)
    behind_scheme = written.partition("://")[2] or written
    return ":" in behind_scheme.rpartition("@")[0] or "password=" in written.lower()


def _tell_who_saw(what: str, instead: str) -> None:
    warn(
        f"{what} was an argument: others on this machine may have seen it, and the shell's history keeps it"
        f" ({instead})"
    )


def refuse_to_share_stdin(argument: str | None, what: str, passphrase_file: Path | None) -> None:
    """Raise :class:`~onion_rdv.errors.UsageError` where an argument and the passphrase would both come from stdin."""
    if str(passphrase_file) == STDIN and argument in {None, STDIN}:
        raise UsageError(f"the {what} and the passphrase cannot both come from stdin")


def read_stdin(what: str) -> str:
    """Read all of stdin."""
    return _read(sys.stdin.read, what)


def read_passphrase_file(path: Path) -> str:
    """Read a passphrase from a file, or from stdin where it is named ``-``."""
    return read_secret_file(path, "passphrase")


def read_secret_file(path: Path, what: str) -> str:
    """Read a secret from a file, or from stdin where it is named ``-``."""
    if str(path) == STDIN:
        return read_stdin(what)
    try:
        with path.open(encoding="utf-8") as file:
            return _read(file.read, what)
    except OSError as error:
        raise UsageError(f"the {what} file cannot be read ({error.strerror})", hint="check its name") from None


def ask(what: str, *, again: bool = False, may_be_empty: bool = False) -> str:
    """Ask at the terminal without echo; ``again`` asks twice, for what cannot be checked otherwise."""
    default = "" if may_be_empty else None
    answer: str = click.prompt(
        what, default=default, show_default=False, hide_input=True, err=True, confirmation_prompt=again
    )
    return answer.strip()


def ask_or_read(what: str, file: Path | None, *, again: bool = False, may_be_empty: bool = False) -> str:
    """Read a passphrase from a file, or from stdin where it is named ``-``; ask where none is named, as :func:`ask`.

    Raises :class:`~onion_rdv.errors.UsageError` where nobody is there to be asked.
    """
    if file is not None:
        return read_passphrase_file(file)
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked for a passphrase", hint="name a file: --passphrase-file FILE")
    return ask(what, again=again, may_be_empty=may_be_empty)


def _read(read: Callable[[int], str], what: str) -> str:
    try:
        text = read(_LIMIT + 1)
    except UnicodeDecodeError:
        raise UsageError(f"the {what} is not valid UTF-8 text") from None
    if len(text) > _LIMIT:
        raise UsageError(f"the {what} is longer than {_LIMIT} characters")
    return text.removesuffix("\n").removesuffix("\r")
