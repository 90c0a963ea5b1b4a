"""Making passphrases, and saying what a given one withstands.

Whoever has the invite can guess offline, at one Argon2id call with 64 MiB for each guess. The server has no salt and
cannot guess at all.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_WORDS = 5
MIN_WORDS, MAX_WORDS = 3, 12

GUESSES_A_SECOND = 10_000
"""What we grant an attacker with the invite: about a thousand cores, each ten 64 MiB Argon2id calls a second."""

_STRONG_ENOUGH = 365 * 24 * 3600.0  # seconds that a passphrase has to withstand that attacker
_UNITS = ((365 * 24 * 3600, "year"), (24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_ZXCVBN_LIMIT = 72  # characters it looks at; what is longer is strong, or repeats itself


@dataclass(frozen=True, slots=True)
class Strength:
    """How long a passphrase withstands somebody who has the invite and ``GUESSES_A_SECOND``."""

    seconds: float

    @property
    def weak(self) -> bool:
        """Whether it would fall within a year."""
        return self.seconds < _STRONG_ENOUGH

    @property
    def words(self) -> str:
        """A length of time for people: ``3 hours``."""
        for size, unit in _UNITS:
            if self.seconds >= size:
                count = int(self.seconds // size)
                return "centuries" if unit == "year" and count >= 100 else f"{count} {unit}{'s' * (count > 1)}"
        return "less than a second"


def make(words: int = DEFAULT_WORDS) -> str:
    """Make a passphrase of random words from EFF's long diceware list: 12.9 bits each."""
    listed = _word_list()
    return " ".join(secrets.choice(listed) for _ in range(words))


def measure_words(words: int) -> Strength:
    """Say what a passphrase of so many random words withstands: half of all there are, on average."""
    return Strength(len(_word_list()) ** words / 2 / GUESSES_A_SECOND)


def measure(passphrase: str) -> Strength:
    """Estimate what a passphrase withstands, with zxcvbn (which knows words, names, dates and keyboards)."""
    from zxcvbn import zxcvbn

    guesses = float(zxcvbn(passphrase[:_ZXCVBN_LIMIT])["guesses"])
    return Strength(guesses / 2 / GUESSES_A_SECOND)


def code_words(code: Sequence[int]) -> list[str]:
    """Give the words of a talk's code: those at these places of the whole list, in alphabetical order."""
    from xkcdpass.xkcd_password import locate_wordfile

    with open(locate_wordfile("eff-long"), encoding="ascii") as file:  # noqa: PTH123 - it gives a string
        listed = sorted(file.read().split())
    return [listed[place] for place in code]


@cache
def _word_list() -> list[str]:
    from xkcdpass.xkcd_password import generate_wordlist, locate_wordfile

    listed = generate_wordlist(locate_wordfile("eff-long"), min_length=3, max_length=9)
    # A hyphen counts as a space, so that "yo-yo" would be two words to whoever counts them.
    return [word for word in listed if word.isalpha()]
