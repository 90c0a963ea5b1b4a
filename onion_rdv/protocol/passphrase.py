"""One spelling for every passphrase, however it was typed or read out (docs/protocol.md, "Passphrases")."""

from __future__ import annotations

import re
import unicodedata

from onion_rdv.errors import MalformedPassphrase

_SEPARATORS = re.compile(r"[\s-]+")


def normalise_passphrase(passphrase: str) -> bytes:
    """Give the bytes that keys are derived from.

    Unicode NFKC, casefold, every run of whitespace and hyphens as one space, none at the ends; UTF-8. Raises
    :class:`~onion_rdv.errors.MalformedPassphrase` where nothing is left, or where it holds half a surrogate pair.
    """
    folded = unicodedata.normalize("NFKC", passphrase).casefold()
    words = " ".join(word for word in _SEPARATORS.split(folded) if word)
    if not words:
        raise MalformedPassphrase("it is empty")
    try:
        return words.encode()
    except UnicodeEncodeError:
        raise MalformedPassphrase("it is not valid Unicode") from None
