"""The files that tell tor whom a HiddenServiceDir lets in (tor's manual, section "Client authorization").

Each file ``authorized_clients/NAME.auth`` holds ``descriptor:x25519:KEY``. Files that an operator put there stay;
ours begin with ``onion-rdv-``, and go when their key is no longer asked for.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError
from onion_rdv.tor.client_authorization import PUBLIC_PREFIX, narrows
from onion_rdv.tor.onion_service import disk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from onion_rdv.tor.onion_service.place import Place

_OURS = "onion-rdv-"


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done for the files to say what is wanted; nothing was done yet.

    ``narrows`` says whether somebody whom the files let in so far is not let in any more; ``warnings`` are texts for
    the operator.
    """

    place: Place
    missing: frozenset[str]
    obsolete: tuple[Path, ...]
    narrows: bool
    warnings: tuple[str, ...]

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.missing or self.obsolete)

    def make(self) -> None:
        """Write and remove files. Blocks.

        Raises :class:`~onion_rdv.errors.SettingsError`, and :class:`~onion_rdv.errors.StoreError` for a disk that is
        full or fails.
        """
        directory = _directory(self.place)
        with _explained(directory):
            if self.missing:
                self.place.make(self.place.directory)
                self.place.make(directory)
            for key in self.missing:
                _put(self.place, directory / f"{_OURS}{key[:16].lower()}.auth", f"{PUBLIC_PREFIX}{key}\n")
            for file in self.obsolete:
                file.unlink()


def compare(place: Place, keys: Collection[str]) -> Change:
    """See what has to be done for the files to say these keys (base32). Blocks.

    Raises :class:`~onion_rdv.errors.SettingsError` when a file would have to be written and this user may not.
    """
    directory = _directory(place)
    present = _read(directory)
    missing = frozenset(keys) - set(present.values())
    obsolete = tuple(file for file, key in present.items() if file.name.startswith(_OURS) and key not in keys)
    others = [file for file, key in present.items() if key not in keys and file not in obsolete]
    if (missing or obsolete) and place.tor_uid not in {None, os.geteuid()} and os.geteuid() != 0:
        with _explained(directory):
            raise PermissionError(errno.EPERM, "they belong to tor's user", str(directory))
    return Change(
        place,
        missing,
        obsolete,
        narrows=narrows(present.values(), {*keys, *(present[file] for file in others)}),
        warnings=tuple(f"{file} lets in a client that the settings do not name" for file in others),
    )


def _directory(place: Place) -> Path:
    return place.directory / "authorized_clients"


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk.fault(error, directory) or SettingsError(
            f"the clients' authorization files: {error.filename}: {error.strerror}",
            hint="run as tor's user; or put each client's descriptor:x25519:... line into a file NAME.auth in "
            f"{directory} that this user may read",
        ) from error


def _read(directory: Path) -> dict[Path, str]:
    """Read which file lets in which key; an unreadable one lets in somebody, whoever it is."""
    present = {}
    with suppress(OSError):
        for file in sorted(directory.iterdir()):
            if file.suffix == ".auth":
                present[file] = "unreadable"
                with suppress(OSError):
                    present[file] = file.read_text(encoding="latin-1").strip().removeprefix(PUBLIC_PREFIX).upper()
    return present


def _put(place: Place, file: Path, content: str) -> None:
    file.unlink(missing_ok=True)
    place.write(file, content, 0o600)
