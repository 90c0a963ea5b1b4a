"""A HiddenServiceDir behind Onionbalance: the file that tells tor for which front it takes introductions.

Tor reads ``ob_config`` together with ``HiddenServiceOnionBalanceInstance`` (its manual). Where there is none it
refuses the option, and where it names nobody tor crashes (0.4.9.11), with everything else that it did. So whatever
can be seen to go wrong is refused here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError
from onion_rdv.tor.control.permission import denied
from onion_rdv.tor.onion_service import disk

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.onion_service.place import Place

FILE = "ob_config"
_KEYWORD = "masteronionaddress"  # tor reads it in either case


def settle(place: Place, front: str) -> None:
    """See to it that tor will take introductions for ``front`` (56 characters and ``.onion``). Blocks.

    The file is written where there is none and this user may. Raises :class:`~onion_rdv.errors.SettingsError` where
    it names another front or none, cannot be read, or is missing and has to be made by somebody else, and
    :class:`~onion_rdv.errors.StoreError` for a disk that is full or fails.
    """
    file = place.directory / FILE
    try:
        fronts = _fronts(file)
    except FileNotFoundError:
        _write(place, file, front)
        return
    except OSError:
        trouble = denied(file, os.R_OK)
        raise SettingsError(f"the front of the onion service: {trouble.detail}", hint=trouble.hint) from None
    if front not in fronts:
        named = ", ".join(fronts) or "nobody"
        raise SettingsError(
            f"{file} has tor take introductions for {named}, and the front is {front}",
            hint="correct whichever of the two is wrong; after a change of the file, restart tor",
        )


def _fronts(file: Path) -> list[str]:
    """Read the addresses that a file names; raises OSError."""
    lines = (line.partition("#")[0].split() for line in file.read_text(encoding="latin-1").splitlines())
    return [words[1].lower() for words in lines if len(words) == 2 and words[0].lower() == _KEYWORD]


def _write(place: Place, file: Path, front: str) -> None:
    """Write the file, and make the directory where tor has not; both are tor's afterwards."""
    line = f"MasterOnionAddress {front}\n"
    try:
        place.make(place.directory)
        place.write(file, line, 0o640)
    except OSError as error:
        raise disk.fault(error, file) or SettingsError(
            f"{file} is not there, and cannot be written by this user ({error.strerror})",
            hint=f"make it as tor's user, with the line {line.rstrip()}, before tor is given the directory",
        ) from None
