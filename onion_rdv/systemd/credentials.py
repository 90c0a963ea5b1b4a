"""Secrets that the service manager hands to the service (systemd.exec(5), "CREDENTIALS")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTORY = "CREDENTIALS_DIRECTORY"


def credential(name: str, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """Read a credential; None where the manager has given none of this name. Blocks.

    Its owner and mode are the manager's business: it may let this user in through an access control list. Raises
    :class:`~onion_rdv.errors.SettingsError` when it cannot be read.
    """
    directory = environment.get(_DIRECTORY)
    if not directory:
        return None
    try:
        return (Path(directory) / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(
            f"the credential {name} cannot be read ({error.strerror})", hint="look at the unit's LoadCredential lines"
        ) from None
