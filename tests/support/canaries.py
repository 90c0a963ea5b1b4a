"""Secrets that are looked for: each in all forms that it could have anywhere."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from onion_rdv.protocol import EntryKeys, Invite, derive_keys

if TYPE_CHECKING:
    from collections.abc import Iterator


def a_link() -> str:
    """Make a link that nobody has seen before."""
    return f"simplex:/i#{secrets.token_hex(16)}/{secrets.token_urlsafe(32)}?h=smp.example.org"


def a_passphrase() -> str:
    """Make a passphrase that nobody has seen before."""
    return " ".join(secrets.token_hex(3) for _ in range(4))


@dataclass
class Canaries:
    """The secrets of a test, by name."""

    forms: dict[str, list[bytes]] = field(default_factory=dict)

    def text(self, name: str, *texts: str) -> None:
        """Look for texts, each as it is, in URLs, in JSON, with hyphens for spaces, and in base64."""
        forms = self.forms.setdefault(name, [])
        for text in texts:
            data = text.encode()
            forms += {data, quote(text).encode(), json.dumps(text)[1:-1].encode(), text.replace(" ", "-").encode()}
            forms += _base64(data)

    def raw(self, name: str, *values: bytes) -> None:
        """Look for bytes, as they are, in hexadecimal, base64 or base32."""
        forms = self.forms.setdefault(name, [])
        for value in values:
            assert len(value) >= 16, "it would be found by chance"
            encoded = base64.b32encode(value).rstrip(b"=")
            forms += [value, value.hex().encode(), value.hex().upper().encode(), encoded, encoded.lower()]
            forms += _base64(value)

    def invite(self, invite: str, passphrase: str) -> None:
        """Look for an invite, its salt, its passphrase, and the keys that come out of them."""
        parsed = Invite.parse(invite)
        keys: EntryKeys = derive_keys(passphrase, parsed.salt, parsed.onion_key)
        self.text("invite", invite.partition("#")[0].rpartition("/")[2])
        self.raw("salt", parsed.salt)
        self.text("passphrase", passphrase)
        self.raw("entry key", keys.key)

    def found_in(self, data: bytes) -> set[str]:
        """Name those that are in it."""
        return {name for name, forms in self.forms.items() if any(form in data for form in forms)}

    def found_below(self, *directories: Path) -> dict[str, set[str]]:
        """Name the files, by their path below the directory, that have some in them or in their names."""
        found = {}
        for directory in directories:
            assert directory.is_dir()
            for path, content in _files(directory):
                name = str(path.relative_to(directory))
                if seen := self.found_in(content) | self.found_in(os.fsencode(name)):
                    found[name] = seen
        return found


def _files(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Read all files in a directory; a tor at work there may replace one, or remove it, before its turn has come."""
    for place, directories, names in os.walk(directory, onerror=_unless_gone):
        directories.sort()
        for path in (Path(place, name) for name in sorted(names)):
            with suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path, path.read_bytes()


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _base64(data: bytes) -> list[bytes]:
    """Give what every base64 of a text with this in it has, wherever it begins there."""
    found = []
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + data)
        inner = whole[4 * (shift > 0) : len(whole) - 4]  # the first and the last group hold neighbours' bits, too
        found += [inner, inner.translate(bytes.maketrans(b"+/", b"-_"))]
    return found
