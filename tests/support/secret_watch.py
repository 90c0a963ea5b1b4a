"""A person's home, in which commands run under watch: where what they are told goes, and what they make."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from canaries import Canaries
from command_line import Result, environment, onion_rdv
from system_calls import Call, Recorder, files_made

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_LOADING_COMMANDS = (b"/onion_rdv/cli/main.py", b"/onion_rdv/cli/__pycache__/main.")


@dataclass
class SecretWatch:
    """Commands, each under a name, and all that they have called; what they are given lies outside their home."""

    home: Path
    given: Path
    env: dict[str, str]
    canaries: Canaries = field(default_factory=Canaries)
    calls: dict[str, list[Call]] = field(default_factory=dict)

    @classmethod
    def at(cls, directory: Path, **variables: str) -> SecretWatch:
        home, given = directory / "home", directory / "given"
        home.mkdir(mode=0o700)
        given.mkdir()
        env = environment(home, **variables)
        # A measurement of coverage would write every command's arguments into a file of its own.
        return cls(home, given, {name: value for name, value in env.items() if not name.startswith("COVERAGE")})

    def give(self, name: str, text: str) -> str:
        """Put a secret into a file; gives its path."""
        (self.given / name).write_text(f"{text}\n")
        return str(self.given / name)

    async def run(self, *words: str, stdin: str = "", name: str = "", code: int = 0) -> Result:
        """Run a command to its end; ``name`` tells it from others with the same first word."""
        async with self.recording(name or words[0]) as recorder:
            result = await onion_rdv(*words, env=self.env, stdin=stdin, wrapper=recorder.wrapper)
            assert result.code == code, result.stderr
        return result

    @asynccontextmanager
    async def recording(self, name: str) -> AsyncIterator[Recorder]:
        """Give what has to run a command, which has ended when the block has."""
        recorder = Recorder(self.given / f"{name}.calls")
        yield recorder
        self.calls[name] = await recorder.calls()

    def check(self, files: dict[str, set[str]] | None = None, **allowed: dict[str, set[str]]) -> None:
        """See that secrets went where they may, and that nothing was open to others for a moment.

        ``allowed`` says for each command which secrets go where, and ``files`` which files below the home have some
        in the end; what does not go there in fact is an error, too.
        """
        assert all(self.canaries.forms.values())
        for name, calls in self.calls.items():
            assert self._where(calls) == allowed.get(name, {}), name
            made = [(path, mode) for path, mode in files_made(calls) if path.startswith(str(self.home))]
            assert [path for path, mode in made if mode & 0o077] == [], name
            assert _is_closed(calls), name
        assert self.canaries.found_below(self.home) == (files or {})
        modes = {str(path): path.stat().st_mode & 0o777 for path in self.home.rglob("*")}
        assert [path for path, mode in modes.items() if mode & 0o077] == []

    def _where(self, calls: list[Call]) -> dict[str, set[str]]:
        went: dict[str, set[str]] = {}
        for call in calls:
            if found := self.canaries.found_in(call.given):
                went.setdefault(_place(call.target), set()).update(found)
        return went


def _place(target: str) -> str:
    """Give the name that a place has in every run, without what is random in it."""
    if target.startswith("socket:"):
        return "socket"
    return re.sub(r"^\.(.+)\.[0-9a-f]{16}$", r"\1", target.rpartition("/")[2])


def _is_closed(calls: list[Call]) -> bool:
    """Tell whether a process closed itself to others before it came to what the command does."""
    loading = next(n for n, call in enumerate(calls) if any(name in call.given for name in _LOADING_COMMANDS))
    closing = [call.text for call in calls[:loading] if call.name in {"prctl", "prlimit64", "umask"}]
    wanted = ("PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0", "0, RLIMIT_CORE, {rlim_cur=0,", "077)")
    return all(any(text.startswith(one) for text in closing) for one in wanted)
